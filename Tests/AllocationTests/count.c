// Preloaded into the gateway: counts what its worker threads ask the allocator for, apart for calls
// from libssl and libcrypto, in a file that the test has mapped too. Changes nothing else.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

struct shared {
  uint64_t ours;
  uint64_t openssl;
  // Set by the test: how many of our allocations are to be shown on stderr.
  uint64_t shown;
};

static struct shared *shared;
static struct { uintptr_t start, end; } openssl[16];
static int opensslCount;
static __thread int isWorker;
static __thread int isInside;

static int note(struct dl_phdr_info *info, size_t size, void *data) {
  (void)size; (void)data;
  if (!strstr(info->dlpi_name, "libssl") && !strstr(info->dlpi_name, "libcrypto")) return 0;
  for (int index = 0; index < info->dlpi_phnum; index++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[index];
    if (part->p_type != PT_LOAD || opensslCount == 16) continue;
    openssl[opensslCount].start = info->dlpi_addr + part->p_vaddr;
    openssl[opensslCount].end = openssl[opensslCount].start + part->p_memsz;
    opensslCount++;
  }
  return 0;
}

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("BASCULE_ALLOCATIONS");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *first[2];
  backtrace(first, 2);  // its own first call allocates
  dl_iterate_phdr(note, 0);
  void *map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (map != MAP_FAILED) shared = map;
}

static void count(uintptr_t caller) {
  if (!shared || isInside) return;
  if (!isWorker) {
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    if (strncmp(name, "worker-", 7) != 0) return;
    isWorker = 1;
  }
  for (int index = 0; index < opensslCount; index++) {
    if (caller >= openssl[index].start && caller < openssl[index].end) {
      __atomic_fetch_add(&shared->openssl, 1, __ATOMIC_RELAXED);
      return;
    }
  }
  __atomic_fetch_add(&shared->ours, 1, __ATOMIC_RELAXED);
  if (shared->shown == 0) return;
  shared->shown--;
  isInside = 1;
  void *frames[24];
  backtrace_symbols_fd(frames, backtrace(frames, 24), 2);
  if (write(2, "--\n", 3) < 0) shared->shown = 0;
  isInside = 0;
}

#define CALLER ((uintptr_t)__builtin_return_address(0))
void *malloc(size_t size) { count(CALLER); return __libc_malloc(size); }
void *calloc(size_t number, size_t size) { count(CALLER); return __libc_calloc(number, size); }
void *realloc(void *old, size_t size) { count(CALLER); return __libc_realloc(old, size); }
void *aligned_alloc(size_t align, size_t size) { count(CALLER); return __libc_memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
  count(CALLER);
  *out = __libc_memalign(align, size);
  return *out ? 0 : 12;
}
