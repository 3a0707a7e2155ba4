// A disk that is full for whoever writes: by RLIMIT_FSIZE, so without root and without a disk.
#pragma once

#include <boost/test/unit_test.hpp>

#include <sys/resource.h>

#include <csignal>

namespace bts3::testing {

// While this lives no file of this process grows beyond `bytes`; what tries gets EFBIG.
class no_growth {
 public:
  explicit no_growth(rlim_t bytes = 0) {
    BOOST_REQUIRE(::getrlimit(RLIMIT_FSIZE, &_before) == 0);
    _handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit limit = _before;
    limit.rlim_cur = bytes;
    BOOST_REQUIRE(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
  }
  ~no_growth() {
    ::setrlimit(RLIMIT_FSIZE, &_before);
    std::signal(SIGXFSZ, _handler);
  }
  no_growth(const no_growth&) = delete;
  no_growth& operator=(const no_growth&) = delete;

 private:
  rlimit _before{};
  void (*_handler)(int) = SIG_DFL;
};

}  // namespace bts3::testing
