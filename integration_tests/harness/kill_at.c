/* Preloaded into the program under test: ends it with SIGKILL before its KILL_AT-th call that changes
 * something on disk (from 1), and appends each call to the file KILL_LOG. With FAIL_AT that call fails
 * instead, with EIO, and with FAIL_NAMES ("rmdir,unlink") each such call from the FAIL_AT-th call on. Other programs, such as the
 * `btrfs receive` that inherits the environment, are left alone.
 *
 * With KILL_POINT, everything counts that kill_anywhere.h adds, too (files that are made and written, the ring's calls,
 * requests, ended children), each by a name that is the same in every run: it ends, or with POINT_FAILS that call
 * fails, at the KILL_NTH one of that name. A KILL_POINT that there is not ("none") only counts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#include "kill_anywhere.h"

/* Whether the call is to fail. */
static int about_to(const char *what, const char *path) {
  static int calls;
  const char *limit = getenv("KILL_AT"), *fail = getenv("FAIL_AT"), *names = getenv("FAIL_NAMES");
  if (strcmp(program_invocation_short_name, "btrfs_to_s3") != 0) {
    return 0;
  }
  if (anywhere()) {
    return point(what, path);
  }
  if (limit == NULL && fail == NULL) {
    return 0;
  }
  ++calls;
  note(calls, what);
  if (limit != NULL && calls == atoi(limit)) {
    kill(getpid(), SIGKILL);
  }
  if (fail == NULL || (names == NULL ? calls != atoi(fail) : calls < atoi(fail) || strstr(names, what) == NULL)) {
    return 0;
  }
  errno = EIO;
  return 1;
}

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  int fails = 0;
  if (request == BTRFS_IOC_SNAP_CREATE_V2) {
    fails = about_to("snapshot", NULL);
  } else if (request == BTRFS_IOC_SNAP_DESTROY || request == BTRFS_IOC_SNAP_DESTROY_V2) {
    fails = about_to("delete subvolume", NULL);
    if (!fails && planted("keeps_snapshots")) {
      return 0;
    }
  } else if (request == BTRFS_IOC_SUBVOL_CREATE) {
    fails = about_to("create subvolume", NULL);
  } else if (request == BTRFS_IOC_SET_RECEIVED_SUBVOL || request == BTRFS_IOC_SUBVOL_SETFLAGS) {
    fails = about_to("mark subvolume", NULL);
  } else if (request == BTRFS_IOC_SYNC || request == BTRFS_IOC_START_SYNC) {
    fails = about_to("sync", NULL);
    if (!fails && planted("forgets_syncs")) {
      return 0;
    }
  }
  if (fails) {
    return -1;
  }
  return NEXT(ioctl)(fd, request, argument);
}

int syncfs(int fd) {
  if (planted("forgets_syncs")) {
    return 0;
  }
  if (about_to("syncfs", NULL)) {
    return -1;
  }
  return NEXT(syncfs)(fd);
}

int fsync(int fd) {
  char name[PATH];
  if (planted("forgets_syncs")) {
    return 0;
  }
  if (about_to("fsync", name_of(fd, name))) {
    return -1;
  }
  return NEXT(fsync)(fd);
}

int rename(const char *from, const char *to) {
  if (about_to("rename", to)) {
    return -1;
  }
  if (planted("forgets_state") && strstr(to, "state.json") != NULL) {
    return 0;
  }
  return NEXT(rename)(from, to);
}

int unlink(const char *path) {
  if (about_to("unlink", path)) {
    return -1;
  }
  if (planted("keeps_journals") && strstr(path, ".journal") != NULL) {
    return 0;
  }
  return NEXT(unlink)(path);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
  if (about_to("rename", to)) {
    return -1;
  }
  return NEXT(renameat)(from_directory, from, to_directory, to);
}

int unlinkat(int directory, const char *path, int flags) {
  if (about_to("unlink", path)) {
    return -1;
  }
  return NEXT(unlinkat)(directory, path, flags);
}

int fchmod(int fd, mode_t mode) {
  if (about_to("chmod", NULL)) {
    return -1;
  }
  return NEXT(fchmod)(fd, mode);
}

int rmdir(const char *path) {
  if (about_to("rmdir", path)) {
    return -1;
  }
  return NEXT(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
  if (about_to("mkdir", path)) {
    return -1;
  }
  return NEXT(mkdir)(path, mode);
}

int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
  if (about_to("mount", NULL)) {
    return -1;
  }
  return NEXT(mount)(source, target, type, flags, data);
}

int umount2(const char *target, int flags) {
  if (about_to("umount", NULL)) {
    return -1;
  }
  return NEXT(umount2)(target, flags);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const environment[]) {
  char line[PATH];
  if (anywhere()) {
    snprintf(line, sizeof line, "%s", argv[1] == NULL ? argv[0] : argv[1]);
  }
  if (about_to("spawn", anywhere() ? line : NULL)) {
    return EIO;
  }
  return NEXT(posix_spawn)(pid, path, actions, attributes, argv, environment);
}
