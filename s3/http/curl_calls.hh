// Calls of libcurl that fail for want of memory, or by a mistake here, and for nothing else.
#pragma once

#include "engine/assert.hh"
#include "engine/give_up.hh"

#include <curl/curl.h>

#include <cerrno>

namespace bts3::s3 {

// Memory that libcurl cannot have in the middle of a call ends the program, as memory of its own
// does (engine/give_up.hh); whatever else it refuses is a mistake here.
inline void must(CURLcode code) {
  if (code == CURLE_OUT_OF_MEMORY) {
    engine::give_up("libcurl", ENOMEM);
  }
  BTS3_ASSERT(code == CURLE_OK);
}

inline void must(CURLMcode code) {
  if (code == CURLM_OUT_OF_MEMORY) {
    engine::give_up("libcurl", ENOMEM);
  }
  BTS3_ASSERT(code == CURLM_OK);
}

template <typename Value>
void set_option(CURL* easy, CURLoption option, Value value) {
  must(curl_easy_setopt(easy, option, value));
}

template <typename Value>
void set_option(CURLM* multi, CURLMoption option, Value value) {
  must(curl_multi_setopt(multi, option, value));
}

}  // namespace bts3::s3
