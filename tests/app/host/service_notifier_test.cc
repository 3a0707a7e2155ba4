// The notifier against a real socket, as a service manager has one.
#include "app/host/service_notifier.hh"

#include "engine/async_scope.hh"
#include "tests/app/support.hh"
#include "tests/engine/support.hh"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <map>

using namespace bts3::app;
using bts3::engine::stop_source;
using bts3::engine::testing::make_reactor;
using bts3::testing::event_log;
using bts3::testing::scratch_directory;
using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

// What listens at `name`, a path or "@abstract".
class manager_socket {
 public:
  explicit manager_socket(std::string name) : _name(std::move(name)) {
    _fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    BOOST_REQUIRE(_fd >= 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, _name.data(), _name.size());
    if (_name.front() == '@') {
      at.sun_path[0] = '\0';
    }
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + _name.size());
    BOOST_REQUIRE(::bind(_fd, reinterpret_cast<sockaddr*>(&at), size) == 0);
  }
  ~manager_socket() { ::close(_fd); }
  manager_socket(const manager_socket&) = delete;
  manager_socket& operator=(const manager_socket&) = delete;

  // The next message; "" when there is none.
  [[nodiscard]] std::string heard() const {
    std::array<char, 4096> text{};
    const ssize_t size = ::recv(_fd, text.data(), text.size(), 0);
    return size > 0 ? std::string(text.data(), static_cast<std::size_t>(size)) : "";
  }

 private:
  std::string _name;
  int _fd = -1;
};

bts3::engine::environment_lookup variables(std::map<std::string, std::string, std::less<>> values) {
  return [values = std::move(values)](std::string_view name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional(found->second);
  };
}

service_notifier made(std::map<std::string, std::string, std::less<>> values,
                      bts3::engine::log_sink& log, pid_t own = 42) {
  auto notifier = service_notifier::create(variables(std::move(values)), own, log);
  BOOST_REQUIRE_MESSAGE(notifier.has_value(), bts3::testing::error_text(notifier));
  return std::move(*notifier);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(service_notifier_suite)

BOOST_AUTO_TEST_CASE(a_path_and_an_abstract_name_are_told_the_same) {
  const scratch_directory scratch;
  event_log log;
  const std::string names[] = {scratch / "notify",
                               "@bts3-test-" + std::to_string(::getpid()) + "-notify"};
  for (const std::string& name : names) {
    const manager_socket socket(name);
    service_notifier notifier = made({{"NOTIFY_SOCKET", name}}, log);
    BOOST_TEST(notifier.active());
    notifier.ready("started");
    BOOST_TEST(socket.heard() == "READY=1\nSTATUS=started");
    notifier.status("backing up data: 1.0 GiB");
    BOOST_TEST(socket.heard() == "STATUS=backing up data: 1.0 GiB");
    notifier.stopping("ended", std::chrono::seconds(20));
    BOOST_TEST(socket.heard() == "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000\nSTATUS=ended");
    BOOST_TEST(socket.heard().empty());
  }
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_CASE(a_name_cannot_forge_a_message) {
  const scratch_directory scratch;
  event_log log;
  const manager_socket socket(scratch / "notify");
  service_notifier notifier = made({{"NOTIFY_SOCKET", scratch / "notify"}}, log);
  notifier.status("backing up a\nREADY=1\x7f");
  BOOST_TEST(socket.heard() == "STATUS=backing up a READY=1 ");
}

BOOST_AUTO_TEST_CASE(without_a_manager_nothing_is_said_and_nothing_fails) {
  event_log log;
  service_notifier notifier = made({}, log);
  BOOST_TEST(!notifier.active());
  notifier.ready("started");
  notifier.stopping("ended", std::chrono::seconds(1));
  auto loop = make_reactor();
  loop->run(notifier.keep_alive(*loop, {}));  // would never return with a watchdog
  BOOST_TEST(log.events.empty());
}

BOOST_AUTO_TEST_CASE(a_manager_that_has_gone_is_reported_once) {
  const scratch_directory scratch;
  event_log log;
  service_notifier notifier = made({{"NOTIFY_SOCKET", scratch / "gone"}}, log);
  notifier.ready("started");
  notifier.status("a");
  notifier.status("b");
  BOOST_TEST(log.events == std::vector<std::string>{"service_manager_not_told"},
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_manager_that_does_not_listen_never_blocks_the_status) {
  const scratch_directory scratch;
  event_log log;
  const manager_socket socket(scratch / "notify");
  service_notifier notifier = made({{"NOTIFY_SOCKET", scratch / "notify"}}, log);
  // More than any queue holds (net.unix.max_dgram_qlen is 10 to some hundreds).
  for (int i = 0; i < 20'000 && log.events.empty(); ++i) {
    notifier.status("text");
  }
  BOOST_TEST(log.events.size() == 1u);
}

BOOST_AUTO_TEST_CASE(keep_alives_come_from_the_reactor_until_they_are_stopped) {
  const scratch_directory scratch;
  event_log log;
  const manager_socket socket(scratch / "notify");
  service_notifier notifier = made(
      {{"NOTIFY_SOCKET", scratch / "notify"}, {"WATCHDOG_USEC", "2000"}, {"WATCHDOG_PID", "42"}},
      log);
  BOOST_TEST((notifier.watchdog() == microseconds(2000)));
  auto loop = make_reactor();
  stop_source end;
  bts3::engine::async_scope scope(*loop);
  scope.spawn(notifier.keep_alive(*loop, end.token()));
  // A reactor that does not turn sends none, however long that lasts.
  std::size_t heard = 0;
  while (heard < 3) {
    BOOST_REQUIRE(loop->run(loop->sleep_for(milliseconds(1))).has_value());
    for (std::string text = socket.heard(); !text.empty(); text = socket.heard()) {
      BOOST_TEST(text == "WATCHDOG=1");
      ++heard;
    }
  }
  ::usleep(20'000);
  BOOST_TEST(socket.heard().empty());
  end.request_stop();
  loop->run(scope.join());
  BOOST_TEST(loop->operations_in_flight() == 0u);
}

BOOST_AUTO_TEST_CASE(the_watchdog_of_another_process_is_not_served) {
  event_log log;
  const service_notifier notifier =
      made({{"NOTIFY_SOCKET", "@x"}, {"WATCHDOG_USEC", "1000"}, {"WATCHDOG_PID", "41"}}, log);
  BOOST_TEST(notifier.watchdog().count() == 0);
  const service_notifier without =
      made({{"NOTIFY_SOCKET", "@x"}, {"WATCHDOG_USEC", "18446744073709551615"}}, log);
  BOOST_TEST(without.watchdog().count() == 0);
}

BOOST_AUTO_TEST_CASE(variables_that_make_no_sense_are_named) {
  event_log log;
  const std::string long_path = "/" + std::string(107, 'x');
  const std::pair<const char*, std::map<std::string, std::string, std::less<>>> wrong[] = {
      {"NOTIFY_SOCKET", {{"NOTIFY_SOCKET", "relative"}}},
      {"NOTIFY_SOCKET", {{"NOTIFY_SOCKET", "@"}}},
      {"NOTIFY_SOCKET", {{"NOTIFY_SOCKET", "vsock:2:1234"}}},
      {"NOTIFY_SOCKET", {{"NOTIFY_SOCKET", long_path}}},
      {"WATCHDOG_USEC", {{"NOTIFY_SOCKET", "@x"}, {"WATCHDOG_USEC", "soon"}}},
      {"WATCHDOG_USEC", {{"NOTIFY_SOCKET", "@x"}, {"WATCHDOG_USEC", "0"}}},
      {"WATCHDOG_PID", {{"NOTIFY_SOCKET", "@x"}, {"WATCHDOG_USEC", "1"}, {"WATCHDOG_PID", "me"}}},
  };
  for (const auto& [culprit, values] : wrong) {
    auto notifier = service_notifier::create(variables(values), 42, log);
    BOOST_REQUIRE(!notifier.has_value());
    BOOST_TEST(notifier.error().text().find(std::string(culprit) + " = \"") == 0u,
               notifier.error().text());
  }
}

BOOST_AUTO_TEST_SUITE_END()
