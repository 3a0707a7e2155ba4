# The Debian package:  cmake --build --preset release && cpack --preset deb
# What else it holds than `cmake --install` is of component "debian": the configuration in /etc, the
# changelogs, the copyright, what lintian is told. Dependencies on libraries are those that
# dpkg-shlibdeps finds.
set(BTS3_MAINTAINER "btrfs_to_s3 contributors <btrfs-to-s3@packages.invalid>" CACHE STRING
  "Who answers for a package that is built here: Name <address>")

# Packing does not build; what is packed has been built before, and not the tests with it.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)

set(CPACK_PACKAGE_NAME btrfs-to-s3)  # an underscore is not allowed there
set(CPACK_PACKAGE_VERSION "${PROJECT_VERSION}")
set(CPACK_PACKAGE_CONTACT "${BTS3_MAINTAINER}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Btrfs snapshots streamed to S3, and back")
set(CPACK_STRIP_FILES ON)
# With DESTDIR, so that /etc is /etc.
set(CPACK_SET_DESTDIR ON)
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_CMAKE_PROJECTS
  "${CMAKE_BINARY_DIR};${PROJECT_NAME};ALL;/"
  "${CMAKE_BINARY_DIR};${PROJECT_NAME};debian;/")
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
  GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)

set(debian "${CMAKE_CURRENT_SOURCE_DIR}/cmake/packaging/debian")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Those of Debian 11 and later; certificates for https.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "btrfs-progs (>= 5.10), ca-certificates")
# `mount` as an ordinary user.
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "fuse3")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Makes read-only snapshots of Btrfs subvolumes and streams them, in full or
as the difference to the last backup, into an S3 bucket, every part with its
digests. Interrupted uploads are continued. A restore verifies every part
before btrfs receive sees a byte of it.

A timer for nightly backups is included, and not enabled: write
/etc/btrfs_to_s3/config.toml first.")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  "${debian}/conffiles" "${debian}/postinst" "${debian}/prerm" "${debian}/postrm")

# The Debian changelog has one entry, this build, dated by SOURCE_DATE_EPOCH where that is set.
string(TIMESTAMP BTS3_BUILD_DATE "%a, %d %b %Y %H:%M:%S +0000" UTC)
configure_file("${debian}/changelog.in" packaging/changelog.Debian @ONLY)
find_program(BTS3_gzip gzip REQUIRED)
set(made "${CMAKE_CURRENT_BINARY_DIR}/packaging")
install(CODE "
  foreach(pair \"${CMAKE_CURRENT_SOURCE_DIR}/CHANGELOG.md;changelog\" \"${made}/changelog.Debian;changelog.Debian\")
    list(GET pair 0 from)
    list(GET pair 1 name)
    execute_process(COMMAND \"${BTS3_gzip}\" -9nc \"\${from}\" OUTPUT_FILE \"${made}/\${name}.gz\"
      COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
" COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES "${made}/changelog.gz" "${made}/changelog.Debian.gz" "${debian}/copyright"
  DESTINATION share/doc/btrfs-to-s3 COMPONENT debian EXCLUDE_FROM_ALL)
install(FILES "${debian}/lintian-overrides" RENAME btrfs-to-s3
  DESTINATION share/lintian/overrides COMPONENT debian EXCLUDE_FROM_ALL)
# Readable by root alone: it names what the host holds.
install(FILES "${made}/config.toml" DESTINATION /etc/btrfs_to_s3 PERMISSIONS OWNER_READ OWNER_WRITE
  COMPONENT debian EXCLUDE_FROM_ALL)
include(CPack)
