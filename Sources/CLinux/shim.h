#pragma once
// Linux calls that Swift's Glibc overlay does not import, or imports awkwardly.
// No _GNU_SOURCE here: defined in one module only, it makes the modules disagree about fd_set.
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
