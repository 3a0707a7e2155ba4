/* Preloaded into the program under test: ends it with SIGKILL before its KILL_AT-th call that changes
 * something on disk (from 1), and appends each call to the file KILL_LOG. Other programs, such as the
 * `btrfs receive` that inherits the environment, are left alone. */
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

static void about_to(const char *what) {
  static int calls;
  const char *limit = getenv("KILL_AT"), *log = getenv("KILL_LOG");
  if (strcmp(program_invocation_short_name, "btrfs_to_s3") != 0 || limit == NULL) {
    return;
  }
  ++calls;
  if (log != NULL) {
    FILE *file = fopen(log, "a");
    if (file != NULL) {
      fprintf(file, "%d %s\n", calls, what);
      fclose(file);
    }
  }
  if (calls == atoi(limit)) {
    kill(getpid(), SIGKILL);
  }
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (request == BTRFS_IOC_SNAP_CREATE_V2) {
    about_to("snapshot");
  } else if (request == BTRFS_IOC_SNAP_DESTROY || request == BTRFS_IOC_SNAP_DESTROY_V2) {
    about_to("delete subvolume");
  } else if (request == BTRFS_IOC_SYNC || request == BTRFS_IOC_START_SYNC) {
    about_to("sync");
  }
  return NEXT(ioctl)(fd, request, argument);
}

int syncfs(int fd) {
  about_to("syncfs");
  return NEXT(syncfs)(fd);
}

int fsync(int fd) {
  about_to("fsync");
  return NEXT(fsync)(fd);
}

int rename(const char *from, const char *to) {
  about_to("rename");
  return NEXT(rename)(from, to);
}

int unlink(const char *path) {
  about_to("unlink");
  return NEXT(unlink)(path);
}

int rmdir(const char *path) {
  about_to("rmdir");
  return NEXT(rmdir)(path);
}

int mkdir(const char *path, mode_t mode) {
  about_to("mkdir");
  return NEXT(mkdir)(path, mode);
}

int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
  about_to("mount");
  return NEXT(mount)(source, target, type, flags, data);
}

int umount2(const char *target, int flags) {
  about_to("umount");
  return NEXT(umount2)(target, flags);
}

int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
                const posix_spawnattr_t *attributes, char *const argv[], char *const environment[]) {
  about_to("spawn");
  return NEXT(posix_spawn)(pid, path, actions, attributes, argv, environment);
}
