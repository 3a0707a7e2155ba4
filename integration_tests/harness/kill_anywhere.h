/* Of kill_at.c: points by name, and all of those that are no change of a directory or a subvolume.
 *
 *   open, write, half a write, ftruncate, fdatasync    of regular files, by their last name
 *   ring write, ring fsync, ...                         the same where it goes through io_uring
 *   request, half a request, answer, half an answer     of HTTP, by method, path and query: nothing has left; half of
 *                                                       one with a body has; the answer is here and nobody has read it
 *   child ended                                         the program has been told so
 *
 * Names hold neither times nor what is random, so that a run has the same ones as the one before it; how often
 * one comes may differ by what runs beside what.
 *
 * PLANTED names a defect of a program that would call its work done: forgets_journal (what is written to it gets lost),
 * keeps_journals, keeps_snapshots (they are not removed), forgets_state (it is not put in its place),
 * forgets_syncs (they do nothing, which the power's end alone shows). Whoever looks for broken promises has to find each. */
#include <arpa/inet.h>
#include <ctype.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

enum { PATH = 512, DESCRIPTORS = 4096 };

static int ours(void) { return strcmp(program_invocation_short_name, "btrfs_to_s3") == 0; }
static int anywhere(void) { return ours() && getenv("KILL_POINT") != NULL; }
static int planted(const char *what) {
  const char *defect = getenv("PLANTED");
  return ours() && defect != NULL && strcmp(defect, what) == 0;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(int calls, const char *what) {
  /* Opened once: a thread that starts a receiver sees the file read-only. */
  static FILE *file;
  const char *log = getenv("KILL_LOG");
  if (log != NULL && file == NULL) {
    file = fopen(log, "ae");
  }
  if (file != NULL) {
    fprintf(file, "%d %s\n", calls, what);
    fflush(file);
  }
}

/* The same without what is a time or random: each run of six and more hexadecimal digits, T, Z and dashes that has a digit
 * becomes a star, and so does what stands behind "uploadId=". */
static void tidy(const char *from, char *to, size_t size) {
  size_t out = 0;
  while (*from != 0 && out + 2 < size) {
    size_t run = 0;
    int digits = 0;
    while (isxdigit((unsigned char)from[run]) || (from[run] != 0 && strchr("TZ-", from[run]) != NULL)) {
      digits += isdigit((unsigned char)from[run]) != 0;
      ++run;
    }
    while (run > 0 && from[run - 1] == '-') {
      --run; /* chunk-TIME-TAG-3: the number stays */
    }
    if (run >= 3 && from[run - 2] == '-' && isdigit((unsigned char)from[run - 1])) {
      run -= 2;
    }
    if (run >= 6 && digits > 0) {
      to[out++] = '*';
      from += run;
    } else {
      for (size_t i = 0; i < (run > 0 ? run : 1) && out + 2 < size; ++i) {
        to[out++] = *from++;
      }
    }
    if (out >= 9 && memcmp(to + out - 9, "uploadId=", 9) == 0) {
      to[out++] = '*';
      while (*from != 0 && *from != '&') {
        ++from;
      }
    }
  }
  to[out] = 0;
}

/* Whether the point is reached at which something happens; it is noted. */
static int reached(const char *what, const char *detail) {
  static int calls, those;
  char raw[PATH * 2], name[PATH * 2];
  const char *base = detail;
  if (detail != NULL && detail[0] == '/' && strrchr(detail, '/')[1] != 0) {
    base = strrchr(detail, '/') + 1;
  }
  snprintf(raw, sizeof raw, "%s%s%s", what, base == NULL ? "" : " ", base == NULL ? "" : base);
  tidy(raw, name, sizeof name);
  pthread_mutex_lock(&lock);
  note(++calls, name);
  const char *nth = getenv("KILL_NTH");
  const int here = strcmp(name, getenv("KILL_POINT")) == 0 && ++those == (nth == NULL ? 1 : atoi(nth));
  pthread_mutex_unlock(&lock);
  return here;
}

static void end(void) { kill(getpid(), SIGKILL); }
static int fails(void) { return getenv("POINT_FAILS") != NULL; }

/* Whether the call is to fail, with errno; else the program ends here where it has to. */
static int point(const char *what, const char *detail) {
  if (!reached(what, detail)) {
    return 0;
  }
  if (!fails()) {
    end();
  }
  errno = EIO;
  return 1;
}

/* What a descriptor was opened by. */
static const char *name_of(int fd, char *into) {
  char link[64];
  if (!anywhere()) {
    return NULL;
  }
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, into, PATH - 1);
  into[size < 0 ? 0 : size] = 0;
  return into;
}

static int regular(int fd) {
  struct stat facts;
  return fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode);
}

/* Whether a write to that descriptor is one of the journal, which is to get lost. */
static int forgotten(int fd) {
  char link[64], name[PATH];
  if (!planted("forgets_journal")) {
    return 0;
  }
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(link, name, sizeof name - 1);
  name[size < 0 ? 0 : size] = 0;
  return strstr(name, ".journal") != NULL;
}

#define OPENS(name, last_fixed, ...)                                   \
  va_list rest;                                                        \
  va_start(rest, last_fixed);                                          \
  const mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
  va_end(rest);                                                        \
  if ((flags & O_CREAT) != 0 && anywhere() && point("open", path)) {   \
    return -1;                                                         \
  }                                                                    \
  return NEXT(name)(__VA_ARGS__, mode)

int open(const char *path, int flags, ...) { OPENS(open, flags, path, flags); }
int open64(const char *path, int flags, ...) { OPENS(open64, flags, path, flags); }
int openat(int directory, const char *path, int flags, ...) { OPENS(openat, flags, directory, path, flags); }
int openat64(int directory, const char *path, int flags, ...) { OPENS(openat64, flags, directory, path, flags); }

int mkdirat(int directory, const char *path, mode_t mode) {
  if (anywhere() && point("mkdir", path)) {
    return -1;
  }
  return NEXT(mkdirat)(directory, path, mode);
}

int ftruncate(int fd, off_t length) {
  char name[PATH];
  if (anywhere() && point("ftruncate", name_of(fd, name))) {
    return -1;
  }
  return NEXT(ftruncate)(fd, length);
}

int fdatasync(int fd) {
  char name[PATH];
  if (planted("forgets_syncs")) {
    return 0;
  }
  if (anywhere() && point("fdatasync", name_of(fd, name))) {
    return -1;
  }
  return NEXT(fdatasync)(fd);
}

ssize_t write(int fd, const void *bytes, size_t size) {
  char name[PATH];
  if (anywhere() && regular(fd)) {
    if (point("write", name_of(fd, name))) {
      return -1;
    }
    if (size > 1 && reached("half a write", name)) {
      (void)!NEXT(write)(fd, bytes, size / 2);
      if (!fails()) {
        end();
      }
      errno = EIO;
      return -1;
    }
  }
  if (forgotten(fd)) {
    return (ssize_t)size;
  }
  return NEXT(write)(fd, bytes, size);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
  char name[PATH];
  if (anywhere() && regular(fd)) {
    if (point("write", name_of(fd, name))) {
      return -1;
    }
    if (size > 8192 && reached("half a write", name)) {
      (void)!NEXT(pwrite)(fd, bytes, size / 2 & ~(size_t)4095, at);
      if (!fails()) {
        end();
      }
      errno = EIO;
      return -1;
    }
  }
  return NEXT(pwrite)(fd, bytes, size, at);
}

/* The same entry, of which nothing comes but that it is done. */
static void becomes_nothing(struct io_uring_sqe *entry) {
  entry->opcode = IORING_OP_NOP;
  entry->fd = -1;
  entry->off = entry->addr = 0;
  entry->len = entry->rw_flags = 0;
}

/* What the ring is about to be given. A write that is cut in half is made here, before the end. */
static void about_to_submit(struct io_uring *ring) {
  char name[PATH];
  if (!ours() || (getenv("KILL_POINT") == NULL && getenv("PLANTED") == NULL)) {
    return;
  }
  for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; ++at) {
    struct io_uring_sqe *entry = &ring->sq.sqes[at & *ring->sq.kring_mask];
    const int writes = entry->opcode == IORING_OP_WRITE || entry->opcode == IORING_OP_WRITE_FIXED;
    const char *what = writes                                    ? "ring write"
                       : entry->opcode == IORING_OP_FSYNC        ? "ring fsync"
                       : entry->opcode == IORING_OP_FALLOCATE    ? "ring fallocate"
                       : entry->opcode == IORING_OP_SYNC_FILE_RANGE ? "ring sync"
                                                                 : NULL;
    if (what == NULL || !regular(entry->fd)) {
      continue;
    }
    if (writes && forgotten(entry->fd)) {
      const int nowhere = NEXT(open)("/dev/null", O_WRONLY | O_CLOEXEC);
      entry->fd = nowhere; /* for the rest of this process */
      continue;
    }
    if (!writes && entry->opcode != IORING_OP_FALLOCATE && planted("forgets_syncs")) {
      becomes_nothing(entry);
      continue;
    }
    if (!anywhere()) {
      continue;
    }
    if (reached(what, name_of(entry->fd, name))) {
      if (!fails()) {
        end();
      }
      entry->fd = -1;
    } else if (writes && entry->len > 1 && reached("half a ring write", name)) {
      const size_t half = entry->len > 8192 ? entry->len / 2 & ~4095U : entry->len / 2;
      const void *bytes = (const void *)(unsigned long)entry->addr;
      if (entry->off == (__u64)-1) {
        (void)!NEXT(write)(entry->fd, bytes, half);
      } else {
        (void)!NEXT(pwrite)(entry->fd, bytes, half, (off_t)entry->off);
      }
      if (!fails()) {
        end();
      }
      entry->fd = -1;
    }
  }
}

int io_uring_submit(struct io_uring *ring) {
  about_to_submit(ring);
  return NEXT(io_uring_submit)(ring);
}

int io_uring_submit_and_wait(struct io_uring *ring, unsigned count) {
  about_to_submit(ring);
  return NEXT(io_uring_submit_and_wait)(ring, count);
}

int io_uring_submit_and_get_events(struct io_uring *ring) {
  about_to_submit(ring);
  return NEXT(io_uring_submit_and_get_events)(ring);
}

int waitid(idtype_t kind, id_t id, siginfo_t *info, int options) {
  const int code = NEXT(waitid)(kind, id, info, options);
  if (code == 0 && info != NULL && info->si_pid != 0 && anywhere()) {
    if (reached("child ended", NULL) && !fails()) {
      end();
    }
  }
  return code;
}

/* One exchange of HTTP on a descriptor: how much of request and answer is to come. */
static struct exchange {
  char name[PATH];
  long long length, sent, answer, got; /* of the request with its head; of the answer's content */
  int waiting, has_body;
} exchanges[DESCRIPTORS];

static long long length_in(const char *head, size_t size) {
  static const char word[] = "content-length:";
  for (size_t at = 0; at + sizeof word < size; ++at) {
    if (strncasecmp(head + at, word, sizeof word - 1) == 0) {
      return atoll(head + at + sizeof word - 1);
    }
  }
  return 0;
}

static int is_exchange(int fd) {
  struct sockaddr_storage peer;
  socklen_t size = sizeof peer;
  return anywhere() && fd >= 0 && fd < DESCRIPTORS && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
         (peer.ss_family == AF_INET || peer.ss_family == AF_INET6);
}

/* Whether the connection is to break here, instead of the program's end. */
static int breaks(int fd) {
  if (!fails()) {
    end();
  }
  shutdown(fd, SHUT_RDWR);
  errno = ECONNRESET;
  return 1;
}

ssize_t send(int fd, const void *bytes, size_t size, int flags) {
  if (!is_exchange(fd)) {
    return NEXT(send)(fd, bytes, size, flags);
  }
  struct exchange *this = &exchanges[fd];
  const char *text = bytes, *head_end = NULL;
  if (this->sent >= this->length && size > 16 && isupper((unsigned char)text[0]) &&
      (head_end = memmem(text, size, "\r\n\r\n", 4)) != NULL) {
    const char *line_end = memchr(text, '\r', size);
    const char *version = memmem(text, (size_t)(line_end - text), " HTTP/", 6);
    snprintf(this->name, sizeof this->name, "%.*s", (int)((version == NULL ? line_end : version) - text), text);
    const long long content = length_in(text, (size_t)(head_end - text) + 2);
    this->length = content + (head_end - text) + 4;
    this->has_body = content > 0;
    this->sent = this->got = this->answer = 0;
    this->waiting = 1;
    if (reached("request", this->name) && breaks(fd)) {
      return -1;
    }
  }
  const long long half = this->length / 2;
  if (this->has_body && this->sent < half && this->sent + (long long)size >= half &&
      reached("half a request", this->name)) {
    (void)!NEXT(send)(fd, bytes, (size_t)(half - this->sent), flags);
    if (breaks(fd)) {
      return -1;
    }
  }
  const ssize_t sent = NEXT(send)(fd, bytes, size, flags);
  this->sent += sent > 0 ? sent : 0;
  return sent;
}

ssize_t recv(int fd, void *bytes, size_t size, int flags) {
  const ssize_t got = NEXT(recv)(fd, bytes, size, flags);
  if (got <= 0 || (flags & MSG_PEEK) != 0 || !is_exchange(fd)) {
    return got;
  }
  struct exchange *this = &exchanges[fd];
  const char *text = bytes;
  if (this->waiting) {
    if (got > 12 && memcmp(text, "HTTP/1.1 100", 12) == 0) {
      return got;
    }
    this->waiting = 0;
    this->answer = length_in(text, (size_t)got);
    if (reached("answer", this->name) && breaks(fd)) {
      return -1;
    }
  }
  const long long half = this->answer / 2;
  if (this->answer > 1 << 18 && this->got < half && this->got + got >= half && reached("half an answer", this->name) &&
      breaks(fd)) {
    return -1;
  }
  this->got += got;
  return got;
}
