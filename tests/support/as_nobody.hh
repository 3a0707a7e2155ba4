// Without root's rights for a while.
#pragma once

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace bts3::testing {

// The effective user is "nobody" while this lives; whoever makes one is root.
class as_nobody {
 public:
  as_nobody() { become(65'534); }
  ~as_nobody() { become(0); }
  as_nobody(const as_nobody&) = delete;
  as_nobody& operator=(const as_nobody&) = delete;

 private:
  // Tests that go on as the wrong user would prove nothing.
  static void become(uid_t user) {
    if (::seteuid(user) != 0) {
      std::perror("seteuid");
      std::abort();
    }
  }
};

}  // namespace bts3::testing
