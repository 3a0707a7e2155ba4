# Every third-party library, each behind one imported target, all from packages of Debian 12 or 13
# (tests/install_dependencies.sh lists the packages).
#
# BTS3_STATIC asks for archives only. Debian has them, but for libcurl's own dependencies, simdjson and
# ISA-L: cmake/static_dependencies.sh builds those three from Debian's sources. toml++, fmt and spdlog
# are headers then.
option(BTS3_STATIC "Link everything into the program, libc included" OFF)
set(BTS3_STATIC_DEPENDENCIES "${PROJECT_SOURCE_DIR}/build/static-dependencies" CACHE PATH
  "What cmake/static_dependencies.sh has built")
if(BTS3_STATIC)
  if(NOT EXISTS "${BTS3_STATIC_DEPENDENCIES}/lib/libcurl.a"
      OR NOT EXISTS "${BTS3_STATIC_DEPENDENCIES}/lib/libsimdjson.a"
      OR NOT EXISTS "${BTS3_STATIC_DEPENDENCIES}/lib/libisal.a")
    message(FATAL_ERROR "a static program needs archives of libcurl, simdjson and ISA-L, which are not all in "
      "${BTS3_STATIC_DEPENDENCIES}; run: cmake/static_dependencies.sh \"${BTS3_STATIC_DEPENDENCIES}\"")
  endif()
  list(PREPEND CMAKE_PREFIX_PATH "${BTS3_STATIC_DEPENDENCIES}")
  set(CMAKE_FIND_LIBRARY_SUFFIXES .a)
  set(OPENSSL_USE_STATIC_LIBS ON)
endif()

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(pugixml REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(tl-expected REQUIRED)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing>=2.3)
pkg_check_modules(libcurl REQUIRED IMPORTED_TARGET libcurl>=7.88)
pkg_check_modules(libisal REQUIRED IMPORTED_TARGET libisal)
pkg_check_modules(simdjson REQUIRED IMPORTED_TARGET simdjson)
pkg_check_modules(libzstd REQUIRED IMPORTED_TARGET libzstd>=1.4)
pkg_check_modules(zlib REQUIRED IMPORTED_TARGET zlib)
pkg_check_modules(sqlite3 REQUIRED IMPORTED_TARGET sqlite3>=3.34)
if(BTS3_FUSE)
  pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3>=3.14)
endif()
if(BTS3_STATIC)
  # One name for each library, whichever form it has.
  set(BTS3_FMT fmt::fmt-header-only)
  # spdlog's own header-only target brings the shared fmt along.
  add_library(bts3_spdlog INTERFACE)
  target_compile_definitions(bts3_spdlog INTERFACE SPDLOG_FMT_EXTERNAL)
  target_link_libraries(bts3_spdlog INTERFACE ${BTS3_FMT} Threads::Threads)
  set(BTS3_SPDLOG bts3_spdlog)
  set(BTS3_PUGIXML pugixml::static)
  add_library(bts3_tomlplusplus INTERFACE)
  target_compile_definitions(bts3_tomlplusplus INTERFACE TOML_HEADER_ONLY=1)
  set(BTS3_TOMLPLUSPLUS bts3_tomlplusplus)
else()
  pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
  set(BTS3_FMT fmt::fmt)
  set(BTS3_SPDLOG spdlog::spdlog)
  set(BTS3_PUGIXML pugixml::pugixml)
  set(BTS3_TOMLPLUSPLUS PkgConfig::tomlplusplus)
endif()
if(BTS3_BUILD_TESTS)
  find_package(Boost 1.74 REQUIRED CONFIG COMPONENTS unit_test_framework)
  # Checksums by somebody else, to compare with.
  pkg_check_modules(libdeflate REQUIRED IMPORTED_TARGET libdeflate)
endif()
