/* A wall clock that a test moves, for a process that is started with this in LD_PRELOAD.
 *
 * CLOCK_SHIFT_FILE names a file of 8 bytes, a signed number of milliseconds in the byte order of the machine. It is mapped, so that
 * whoever writes it moves the clock of the running process and of all its children. Only the time of day moves: how much time has
 * passed, by CLOCK_MONOTONIC, is what it is, as when a clock is set on a real host.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS_OF_MS 1000000LL
#define NANOSECONDS_OF_S 1000000000LL

static const volatile int64_t *shift_ms;

__attribute__((constructor)) static void map_the_file(void) {
  const char *path = getenv("CLOCK_SHIFT_FILE");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, sizeof *shift_ms, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) shift_ms = mapped;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = (int)syscall(SYS_clock_gettime, clock, now);
  if (!failed && shift_ms && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    int64_t moved = (int64_t)now->tv_sec * NANOSECONDS_OF_S + now->tv_nsec + *shift_ms * NANOSECONDS_OF_MS;
    now->tv_sec = (time_t)(moved / NANOSECONDS_OF_S);
    now->tv_nsec = (long)(moved % NANOSECONDS_OF_S);
  }
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  int failed = clock_gettime(CLOCK_REALTIME, &exact);
  if (!failed) {
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
  }
  return failed;
}

time_t time(time_t *now) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (now) *now = exact.tv_sec;
  return exact.tv_sec;
}
