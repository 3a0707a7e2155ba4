// While it lives no thread can be started in this process: each would get a stack as large as the
// address space.
#pragma once

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <pthread.h>

namespace bts3::testing {

class no_threads {
 public:
  no_threads() {
    BOOST_REQUIRE(::pthread_getattr_default_np(&_before) == 0);
    pthread_attr_t huge;
    BOOST_REQUIRE(::pthread_attr_init(&huge) == 0);
    BOOST_REQUIRE(::pthread_attr_setstacksize(&huge, std::size_t{1} << 47) == 0);
    BOOST_REQUIRE(::pthread_setattr_default_np(&huge) == 0);
    ::pthread_attr_destroy(&huge);
  }
  ~no_threads() {
    ::pthread_setattr_default_np(&_before);
    ::pthread_attr_destroy(&_before);
  }
  no_threads(const no_threads&) = delete;
  no_threads& operator=(const no_threads&) = delete;

 private:
  pthread_attr_t _before{};
};

}  // namespace bts3::testing
