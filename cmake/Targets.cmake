# How targets are made here: bts3_library() for a folder's static library and bts3_test() for a
# folder's Boost.Test binary, whose cases become CTest cases of their own.

add_library(bts3_warnings INTERFACE)
# g++ 12 takes an enumerator of a scoped enumeration for a declaration that hides a type of its name.
target_compile_options(bts3_warnings INTERFACE -Wall -Wextra -Wpedantic
  $<IF:$<CXX_COMPILER_ID:GNU>,-Wshadow=local,-Wshadow>
  $<$<BOOL:${BTS3_WERROR}>:-Werror>)

# Flags that change code generation hold for every target alike.
if(BTS3_SANITIZE)
  add_compile_options(-fsanitize=${BTS3_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${BTS3_SANITIZE})
endif()
# What the fuzzers see of a run is which branches it took.
if(BTS3_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# bts3_library(NAME [SOURCES...] [DEPENDS targets...])
# Makes static library bts3_NAME with alias bts3::NAME of the SOURCES, or where none are named of all
# of the folder. Each header of the folder is compiled with nothing before it, so that none leans on
# what its users happened to include: where a source of the same name includes it first, by that
# source, and else alone.
function(bts3_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPENDS" ${ARGN})
  if(NOT arg_SOURCES)
    file(GLOB arg_SOURCES RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" CONFIGURE_DEPENDS *.cc)
  endif()
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}" "${CMAKE_CURRENT_SOURCE_DIR}")
  file(GLOB headers RELATIVE "${CMAKE_CURRENT_SOURCE_DIR}" CONFIGURE_DEPENDS *.hh)
  set(alone)
  foreach(header IN LISTS headers)
    string(REGEX REPLACE "\\.hh$" ".cc" source "${header}")
    set(first "")
    if(EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${source}")
      file(STRINGS "${source}" first REGEX "^#include" LIMIT_COUNT 1)
    endif()
    if(first STREQUAL "#include \"${folder}/${header}\"")
      continue()
    endif()
    string(REPLACE "." "_" stem "${header}")
    set(unit "${CMAKE_CURRENT_BINARY_DIR}/alone/${stem}.cc")
    file(CONFIGURE OUTPUT "${unit}" CONTENT "#include \"${folder}/${header}\"\n" @ONLY)
    list(APPEND alone "${unit}")
  endforeach()
  add_library(bts3_${name} STATIC ${arg_SOURCES})
  add_library(bts3::${name} ALIAS bts3_${name})
  target_include_directories(bts3_${name} PUBLIC "${PROJECT_SOURCE_DIR}")
  target_link_libraries(bts3_${name} PUBLIC ${arg_DEPENDS} PRIVATE bts3_warnings)
  if(alone AND BTS3_BUILD_TESTS AND NOT BTS3_SANITIZE)  # once is enough
    add_library(bts3_${name}_headers_alone OBJECT ${alone})
    target_link_libraries(bts3_${name}_headers_alone PRIVATE bts3_${name} bts3_warnings)
    target_compile_options(bts3_${name}_headers_alone PRIVATE -O0 -g0)  # nobody runs them
  endif()
endfunction()

# bts3_test(NAME SOURCES... [DEPENDS targets...] [TIMEOUT seconds] [OPTIMISED])
# One Boost.Test binary; CTest case names are NAME.suite.case, read from the sources when CMake runs.
function(bts3_test name)
  cmake_parse_arguments(arg "OPTIMISED" "TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  # Only what hangs is to be ended: machines are shared, and sanitizers take several times as long.
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  if(BTS3_SANITIZE)
    math(EXPR arg_TIMEOUT "3 * ${arg_TIMEOUT}")
  endif()
  set(binary ${name}_tests)
  add_executable(${binary} ${arg_SOURCES})
  target_compile_definitions(${binary} PRIVATE BOOST_TEST_DYN_LINK
    BTS3_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/data")
  target_link_libraries(${binary} PRIVATE ${arg_DEPENDS} bts3_test_main Boost::unit_test_framework
    PkgConfig::libdeflate bts3_warnings)
  target_include_directories(${binary} PRIVATE "${PROJECT_SOURCE_DIR}")
  # As the program is linked. Binding a function at its first call saves the vector registers on the
  # stack, secrets that were copied with them included; tests look for such copies.
  target_link_options(${binary} PRIVATE -Wl,-z,relro,-z,now)
  # What is tested is optimised. Tests are where they compute (OPTIMISED): without, they take half of
  # the time to compile.
  if(NOT arg_OPTIMISED)
    target_compile_options(${binary} PRIVATE $<$<CONFIG:Release,Asan>:-O0>)
  endif()
  foreach(source IN LISTS arg_SOURCES)
    # Normalised: two folders may share a source, and Ninja wants it named in one way.
    get_filename_component(watched "${source}" ABSOLUTE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${watched}")
    file(STRINGS "${source}" lines REGEX "^BOOST_(AUTO|FIXTURE)_TEST_(SUITE|CASE)\\(")
    set(suite "")
    foreach(line IN LISTS lines)
      if(line MATCHES "_TEST_SUITE\\(([a-z0-9_]+)")
        set(suite "${CMAKE_MATCH_1}")
      elseif(line MATCHES "_TEST_CASE\\(([a-z0-9_]+)")
        if(suite STREQUAL "")
          message(FATAL_ERROR "${source}: test ${CMAKE_MATCH_1} stands in no suite")
        endif()
        set(test "${name}.${suite}.${CMAKE_MATCH_1}")
        add_test(NAME "${test}"
          COMMAND ${binary} --run_test=${suite}/${CMAKE_MATCH_1} --color_output=no)
        set_tests_properties("${test}" PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS unit)
      endif()
    endforeach()
  endforeach()
endfunction()
