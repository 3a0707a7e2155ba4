/* Preloaded into the program under test: its first syncfs(2) waits, as on a slow disk, until the file
 * HOLD_SYNC.release is there; HOLD_SYNC.held is made when it begins to wait. Others go on at once. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int syncfs(int fd) {
  const char *stem = getenv("HOLD_SYNC");
  char held[4096], release[4096];
  if (strcmp(program_invocation_short_name, "btrfs_to_s3") == 0 && stem != NULL) {
    snprintf(held, sizeof held, "%s.held", stem);
    snprintf(release, sizeof release, "%s.release", stem);
    const int mark = open(held, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (mark >= 0) {
      close(mark);
      while (access(release, F_OK) != 0) {
        usleep(10000);
      }
    }
  }
  return ((int (*)(int))dlsym(RTLD_NEXT, "syncfs"))(fd);
}
