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
