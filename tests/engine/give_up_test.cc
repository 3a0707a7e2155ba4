#include "engine/give_up.hh"

#include "tests/support/ended_child.hh"
#include "tests/support/sanitizers.hh"
#include "tests/support/shown_setting.hh"

#include <boost/test/unit_test.hpp>

#include <sys/resource.h>

#include <cerrno>
#include <cstddef>
#include <iostream>
#include <new>
#include <string>

using namespace bts3::engine;
using bts3::testing::child_end;
using bts3::testing::end_of_child;

BOOST_AUTO_TEST_SUITE(give_up_suite)

BOOST_AUTO_TEST_CASE(one_line_names_what_it_was_and_what_helps_and_the_status_is_one) {
  const child_end end = end_of_child([] { give_up("the thing", "it refused", "mend it"); });
  BOOST_TEST(end.status == 1);
  BOOST_TEST(end.said == "btrfs_to_s3: the thing: it refused; mend it\n");
}

BOOST_AUTO_TEST_CASE(a_refused_call_is_told_with_the_systems_own_words) {
  const child_end end = end_of_child([] { give_up("io_uring_enter", ENOMEM); });
  BOOST_TEST(end.status == 1);
  BOOST_TEST(end.said ==
             "btrfs_to_s3: io_uring_enter: Cannot allocate memory; run it again: it goes on where "
             "this one stopped\n");
  // Numbers that no Linux gives have no words.
  BOOST_TEST(end_of_child([] { give_up("x", 4095); }).said ==
             "btrfs_to_s3: x: unknown error; run it again: it goes on where this one stopped\n");
}

// Nobody reads it: the status is the same, and it does not wait.
BOOST_AUTO_TEST_CASE(a_closed_stderr_changes_no_status) {
  const child_end end = end_of_child([] {
    ::close(STDERR_FILENO);
    give_up("the thing", "it refused", "mend it");
  });
  BOOST_TEST(end.status == 1);
  BOOST_TEST(end.said.empty());
}

BOOST_AUTO_TEST_CASE(memory_that_cannot_be_had_ends_the_program_with_one_line) {
  if (bts3::testing::address_sanitized || bts3::testing::thread_sanitized) {
    std::cout << "skipped: a sanitizer answers for memory that is not there\n";
    return;
  }
  const child_end end = end_of_child([] {
    give_up_without_memory();
    rlimit none{};
    if (::getrlimit(RLIMIT_AS, &none) != 0) {
      ::_exit(2);
    }
    none.rlim_cur = std::size_t{64} << 20;
    if (::setrlimit(RLIMIT_AS, &none) != 0) {
      ::_exit(2);
    }
    ::operator delete(::operator new(std::size_t{1} << 30));
  });
  BOOST_TEST(end.status == 1);
  BOOST_TEST(end.said ==
             "btrfs_to_s3: out of memory: the system refuses more; end other programs, raise "
             "MemoryMax= of the unit, or lower " +
                 bts3::testing::shown(setting::part_size) + " or " +
                 bts3::testing::shown(setting::concurrency) +
                 "; then run it again: it goes on where this one stopped\n");
}

BOOST_AUTO_TEST_SUITE_END()
