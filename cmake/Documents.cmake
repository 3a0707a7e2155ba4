# The manual pages, made when the program is built: btrfs_to_s3(1) from docs/man, btrfs_to_s3.toml(5)
# from config.example.toml.
option(BTS3_MAN_PAGES "Make the manual pages (needs scdoc)" ON)
if(NOT BTS3_MAN_PAGES)
  return()
endif()
foreach(tool scdoc awk gzip)
  find_program(BTS3_${tool} ${tool})
  if(NOT BTS3_${tool})
    message(FATAL_ERROR "${tool} makes the manual pages and is not installed; install it "
      "(tests/install_dependencies.sh build), or configure with -DBTS3_MAN_PAGES=OFF")
  endif()
endforeach()

set(pages "${CMAKE_CURRENT_SOURCE_DIR}/docs/man")
set(makers "${CMAKE_CURRENT_SOURCE_DIR}/cmake/packaging")
set(made "${CMAKE_CURRENT_BINARY_DIR}/man")
file(MAKE_DIRECTORY "${made}")

# bts3_page(NAME SOURCE): SOURCE becomes ${made}/NAME.gz, without a time inside.
function(bts3_page name source)
  add_custom_command(OUTPUT "${made}/${name}.gz"
    COMMAND sh -ec "\"$1\" <\"$2\" >\"$3\"; \"$4\" -9nf \"$3\""
      scdoc "${BTS3_scdoc}" "${source}" "${made}/${name}" "${BTS3_gzip}"
    DEPENDS "${source}" COMMENT "Making ${name}" VERBATIM)
endfunction()

bts3_page(btrfs_to_s3.1 "${pages}/btrfs_to_s3.1.scd")
add_custom_command(OUTPUT "${made}/btrfs_to_s3.toml.5.scd"
  COMMAND sh -ec "\"$1\" -f \"$2\" \"$3\" \"$4\" >\"$5\"" awk "${BTS3_awk}" "${makers}/config_page.awk"
    "${CMAKE_CURRENT_SOURCE_DIR}/config.example.toml" "${pages}/btrfs_to_s3.toml.5.scd.in"
    "${made}/btrfs_to_s3.toml.5.scd"
  DEPENDS "${makers}/config_page.awk" config.example.toml "${pages}/btrfs_to_s3.toml.5.scd.in"
  VERBATIM)
bts3_page(btrfs_to_s3.toml.5 "${made}/btrfs_to_s3.toml.5.scd")
add_custom_target(documents ALL
  DEPENDS "${made}/btrfs_to_s3.1.gz" "${made}/btrfs_to_s3.toml.5.gz")

install(FILES "${made}/btrfs_to_s3.1.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
install(FILES "${made}/btrfs_to_s3.toml.5.gz" DESTINATION "${CMAKE_INSTALL_MANDIR}/man5")
