#pragma once
// Linux calls that Swift's Glibc overlay does not import, or imports awkwardly.
// No _GNU_SOURCE here: defined in one module only, it makes the modules disagree about fd_set.
#include <errno.h>
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

// Declared by <sys/socket.h> and <sched.h> under _GNU_SOURCE only.
static inline int linux_accept4(int listener, struct sockaddr *address, socklen_t *length) {
  return (int)syscall(SYS_accept4, listener, address, length, SOCK_NONBLOCK | SOCK_CLOEXEC);
}
// Returns how many bytes of `mask` were written, or -1.
static inline long linux_sched_getaffinity(void *mask, size_t size) {
  return syscall(SYS_sched_getaffinity, 0, size, mask);
}

// The three calls of the data path. glibc's own are cancellation points, which in a process with
// threads costs each of them two atomic operations and a look-up; nothing here is ever cancelled.
static inline long linux_recv(int socket, void *buffer, size_t size) {
  return syscall(SYS_recvfrom, socket, buffer, size, 0, NULL, NULL);
}
static inline long linux_send(int socket, const void *bytes, size_t size, int more) {
  return syscall(SYS_sendto, socket, bytes, size, MSG_NOSIGNAL | (more ? MSG_MORE : 0), NULL, 0);
}
// Not SYS_epoll_wait, which newer architectures do not have. `milliseconds` -1: no limit.
static inline int linux_epoll_wait(int epoll, struct epoll_event *events, int limit, int milliseconds) {
  return (int)syscall(SYS_epoll_pwait, epoll, events, limit, milliseconds, NULL, 0);
}

// ioctl is variadic. -1 where the socket cannot tell.
#include <linux/sockios.h>
#include <sys/ioctl.h>
static inline int linux_unacknowledged(int socket) {
  int count = 0;
  return ioctl(socket, SIOCOUTQ, &count) == 0 ? count : -1;
}

// ioctl is variadic.
static inline int linux_window_size(int descriptor, struct winsize *size) {
  return ioctl(descriptor, TIOCGWINSZ, size);
}

// Variadic in C.
static inline int linux_set_thread_name(const char *name) { return prctl(PR_SET_NAME, name); }

// SIG_IGN is a cast that Swift cannot read.
static inline int linux_ignore_signal(int number) {
  return signal(number, SIG_IGN) == SIG_ERR ? -1 : 0;
}

// An enumeration in glibc's headers, whose type differs between C and C++.
static inline int linux_stream_socket(int family) {
  return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

// fcntl is variadic. 0 is the lowest number the duplicate may get.
#include <fcntl.h>
static inline int linux_duplicate(int descriptor) { return fcntl(descriptor, F_DUPFD_CLOEXEC, 0); }
static inline int linux_duplicate_above(int descriptor, int lowest) {
  return fcntl(descriptor, F_DUPFD_CLOEXEC, lowest);
}
static inline int linux_set_close_on_exec(int descriptor) {
  return fcntl(descriptor, F_SETFD, FD_CLOEXEC);
}
static inline int linux_set_non_blocking(int descriptor) {
  int flags = fcntl(descriptor, F_GETFL);
  return flags < 0 ? -1 : fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
}

static inline int linux_datagram_socket(int family) {
  return socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

extern char **environ;
static inline char **linux_environment(void) { return environ; }

// A program that is to run in a child process, which gets `descriptors` as 3, 4, 5 and so on, and
// nothing else beside 0, 1 and 2. Its process id is written to `digits`, where there is room for it
// (sd_listen_fds(3): LISTEN_PID is the child's, which the parent cannot know before).
struct linux_program {
  const char *path;
  char *const *arguments;
  char *const *environment;
  char *digits;
  const int *descriptors;
  int count;
};

// The child. It shares its parent's memory until the exec, and other threads may hold any lock: only
// async-signal-safe calls. Written in C, because nobody says what Swift's run time does between.
__attribute__((noinline, noreturn)) static void linux_become(
    const struct linux_program *program, volatile int *failure) {
  char reversed[12];
  int length = 0;
  for (int pid = getpid(); pid > 0; pid /= 10) reversed[length++] = (char)('0' + pid % 10);
  for (int i = 0; i < length; i++) program->digits[i] = reversed[length - 1 - i];
  program->digits[length] = 0;
  int isReady = 1;
  // dup2 clears close-on-exec. The sources lie above the targets: none is overwritten.
  for (int i = 0; i < program->count; i++) {
    if (dup2(program->descriptors[i], 3 + i) < 0) isReady = 0;
  }
  // What somebody has left open without close-on-exec. An old kernel does not know the call.
#ifdef SYS_close_range
  syscall(SYS_close_range, 3 + program->count, ~0U, 0);
#endif
  // What is ignored and what is blocked would be inherited.
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  if (isReady) execve(program->path, program->arguments, program->environment);
  *failure = errno;
  _exit(127);
}

// Returns the child's process id, or -1 when there is none or it could not run the program. The caller
// is suspended until then. Signals are blocked meanwhile: a handler of the parent would run in the
// child, in the parent's memory.
__attribute__((noinline)) static int linux_start(const struct linux_program *program) {
  volatile int failure = 0;
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int child = vfork();
  if (child == 0) linux_become(program, &failure);
  int code = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (child > 0 && failure != 0) {
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {}
    child = -1;
    code = failure;
  }
  errno = code;
  return child;
}

// The macros of <sys/wait.h>. -1 while the child runs; its exit status, or 256 and its signal.
static inline int linux_child_end(int child) {
  int status = 0;
  if (waitpid(child, &status, WNOHANG) != child) return -1;
  return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

// Declared under _GNU_SOURCE and _DEFAULT_SOURCE only. glibc's own apply to every thread.
#include <sys/types.h>
int setresuid(uid_t real, uid_t effective, uid_t saved);
int setresgid(gid_t real, gid_t effective, gid_t saved);
int getresuid(uid_t *real, uid_t *effective, uid_t *saved);
int setgroups(size_t count, const gid_t *groups);

// prctl is variadic. Of these every argument counts that is not used.
static inline int linux_prctl(int option, unsigned long value, unsigned long other) {
  return prctl(option, value, other, 0, 0);
}

// glibc has no wrappers for these two. They concern the calling thread, and those it starts later.
#include <linux/capability.h>
static inline int linux_capget(struct __user_cap_data_struct *two) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  return (int)syscall(SYS_capget, &header, two);
}
static inline int linux_capset(const struct __user_cap_data_struct *two) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  return (int)syscall(SYS_capset, &header, two);
}
