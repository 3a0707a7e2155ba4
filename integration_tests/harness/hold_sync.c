/* Preloaded into the program under test: its first syncfs(2) waits, as on a slow disk, until the file
 * HOLD_SYNC.release is there; HOLD_SYNC.held is made when it begins to wait. Others go on at once. With
 * HOLD_SYNC_AT it is that call (from 1) of all syncfs(2) and fsync(2), and each adds a byte to HOLD_SYNC.count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void hold(const char *stem) {
  char held[4096], release[4096];
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

static void before(int filesystem) {
  static atomic_int calls;
  const char *stem = getenv("HOLD_SYNC"), *at = getenv("HOLD_SYNC_AT");
  char count[4096];
  if (strcmp(program_invocation_short_name, "btrfs_to_s3") != 0 || stem == NULL) {
    return;
  }
  if (at == NULL) {
    if (filesystem) {
      hold(stem);
    }
    return;
  }
  snprintf(count, sizeof count, "%s.count", stem);
  const int file = open(count, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (file >= 0) {
    (void)!write(file, ".", 1);
    close(file);
  }
  if (++calls == atoi(at)) {
    hold(stem);
  }
}

int syncfs(int fd) {
  before(1);
  return ((int (*)(int))dlsym(RTLD_NEXT, "syncfs"))(fd);
}

int fsync(int fd) {
  before(0);
  return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
