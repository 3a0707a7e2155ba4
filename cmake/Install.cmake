# What `cmake --install` puts where: the program, its units, its manual pages, the shell completion and
# the documents.
include(GNUInstallDirs)

# Units of an installation under /usr/local belong to it; systemd reads both places.
set(BTS3_UNIT_DIR "lib/systemd/system" CACHE STRING
  "Where units are installed, below the prefix")

install(TARGETS btrfs_to_s3 RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
# Runs as root: addresses of functions are resolved at its start and read-only from then on.
target_link_options(btrfs_to_s3 PRIVATE -Wl,-z,relro,-z,now)

# The place of the program is known only now: --prefix and packages change it.
install(CODE "
  set(CMAKE_INSTALL_FULL_BINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}\")
  foreach(unit btrfs_to_s3 btrfs_to_s3-verify)
    configure_file(\"${CMAKE_CURRENT_SOURCE_DIR}/systemd/\${unit}.service.in\"
      \"${CMAKE_CURRENT_BINARY_DIR}/packaging/\${unit}.service\" @ONLY)
  endforeach()
")
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/packaging/btrfs_to_s3.service"
  "${CMAKE_CURRENT_BINARY_DIR}/packaging/btrfs_to_s3-verify.service"
  systemd/btrfs_to_s3.timer
  systemd/btrfs_to_s3-verify.timer
  systemd/btrfs_to_s3-failure@.service
  DESTINATION "${BTS3_UNIT_DIR}")

# The shells' completions. Debian's zsh looks for those of packages in a place of their own.
install(FILES cmake/packaging/completion.bash RENAME btrfs_to_s3
  DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/bash-completion/completions")
install(FILES cmake/packaging/completion.fish RENAME btrfs_to_s3.fish
  DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/fish/vendor_completions.d")
install(CODE "
  set(bts3_zsh site-functions)
  if(\"\${CMAKE_INSTALL_PREFIX}\" STREQUAL \"/usr\")
    set(bts3_zsh vendor-completions)
  endif()
")
install(FILES cmake/packaging/completion.zsh RENAME _btrfs_to_s3
  DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/zsh/\${bts3_zsh}")

# The configuration to begin with: the example, less what only its reader can know, and the state
# where the unit may write. It is refused, key by key, until those are filled in.
file(READ config.example.toml packaged)
# bts3_change(FROM TO): in `packaged`; a text that is not there any more is an error.
function(bts3_change from to)
  string(FIND "${packaged}" "${from}" at)
  if(at EQUAL -1)
    message(FATAL_ERROR "config.example.toml lacks \"${from}\", which cmake/Install.cmake changes "
      "for the installed configuration: adapt the one to the other")
  endif()
  string(REPLACE "${from}" "${to}" changed "${packaged}")
  set(packaged "${changed}" PARENT_SCOPE)
endfunction()
bts3_change("What stands here without \"#\" must be set; every other line shows its default."
  "Set paths, bucket, region and prefix; every other line with \"#\" shows its default.")
bts3_change("#state_path = \"~/.local/state/btrfs_to_s3/state.json\""
  "state_path = \"/var/lib/btrfs_to_s3/state.json\"")
foreach(key paths bucket region prefix)
  bts3_change("\n${key} = " "\n#${key} = ")
endforeach()
file(CONFIGURE OUTPUT packaging/config.toml CONTENT "${packaged}" @ONLY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS config.example.toml)

# One name for the folder of documents, the Debian package's, which may hold no underscore.
set(documents "${CMAKE_INSTALL_DATAROOTDIR}/doc/btrfs-to-s3")
install(FILES README.md "${CMAKE_CURRENT_BINARY_DIR}/packaging/config.toml" DESTINATION "${documents}")
install(FILES docs/format.md docs/moving.md docs/operations.md docs/recovery.md docs/reference.md
  docs/reliability.md docs/security.md DESTINATION "${documents}/docs")
