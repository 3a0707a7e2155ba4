/* Preloaded into the program under test: its clock of the day is CLOCK_OFFSET seconds ahead of the machine's, or behind. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

static long offset(void) {
  const char *seconds = getenv("CLOCK_OFFSET");
  return seconds == NULL || strcmp(program_invocation_short_name, "btrfs_to_s3") != 0 ? 0 : atol(seconds);
}

int clock_gettime(clockid_t which, struct timespec *now) {
  const int code = ((__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime"))(which, now);
  if (code == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
    now->tv_sec += offset();
  }
  return code;
}

int gettimeofday(struct timeval *now, void *zone) {
  const int code = ((__typeof__(&gettimeofday))dlsym(RTLD_NEXT, "gettimeofday"))(now, zone);
  now->tv_sec += offset();
  return code;
}

time_t time(time_t *into) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (into != NULL) {
    *into = now.tv_sec;
  }
  return now.tv_sec;
}

/* libstdc++ asks the kernel itself: std::chrono::system_clock::now(), in nanoseconds. */
long long _ZNSt6chrono3_V212system_clock3nowEv(void) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}
