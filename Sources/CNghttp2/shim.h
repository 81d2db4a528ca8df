#pragma once
#include <nghttp2/nghttp2.h>

// Options that newer libraries have, and older ones with security fixes. Weak: where the library that
// is loaded has none, its address is null, and the wrapper returns 0.
__attribute__((weak)) void nghttp2_option_set_stream_reset_rate_limit(
    nghttp2_option *option, uint64_t burst, uint64_t rate);
__attribute__((weak)) void nghttp2_option_set_max_continuations(nghttp2_option *option, size_t value);

static inline int bascule_nghttp2_has_stream_reset_rate_limit(void) {
  return nghttp2_option_set_stream_reset_rate_limit != 0;
}

static inline int bascule_nghttp2_has_max_continuations(void) {
  return nghttp2_option_set_max_continuations != 0;
}

static inline void bascule_nghttp2_set_max_continuations(nghttp2_option *option, size_t value) {
  if (nghttp2_option_set_max_continuations) nghttp2_option_set_max_continuations(option, value);
}
