// A bucket of any size that is read only and far away: what many small requests cost whoever makes
// them, with a store that costs next to nothing itself.
//
//   bench_bucket FILE MILLISECONDS
//
// FILE has a line for each object: key, size, ETag and content between tabs; one without content is
// listed and cannot be read. Every answer comes so many milliseconds after its request, and a
// connection's first one twice as many, since a connection takes as long to be made. Prints its
// port, and after each end of a line on standard input what was asked since the last: "GETS
// LISTINGS OTHERS CONNECTIONS". Ends with standard input.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <deque>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using steady = std::chrono::steady_clock;

constexpr std::size_t page_objects = 1000;          // as S3 has it
constexpr std::size_t request_bytes_max = 1 << 16;  // a signed one has some 2 KiB

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_bucket: %s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void fail_errno(const std::string& what) {
  fail(what + ": " + std::strerror(errno));
}

struct object {
  std::string key;
  std::string size;
  std::string tag;
  std::string content;
};

std::vector<object> read_objects(const char* path) {
  std::ifstream file(path);
  if (!file) {
    fail(std::string("cannot read ") + path);
  }
  std::vector<object> all;
  for (std::string line; std::getline(file, line);) {
    object one;
    std::size_t at = 0;
    for (std::string* field : {&one.key, &one.size, &one.tag}) {
      const std::size_t end = line.find('\t', at);
      if (end == std::string::npos) {
        fail("a line without its fields: " + line.substr(0, 80));
      }
      *field = line.substr(at, end - at);
      at = end + 1;
    }
    one.content = line.substr(at);
    all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(), [](const object& a, const object& b) { return a.key < b.key; });
  return all;
}

std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ec == std::errc()) {
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

struct counts {
  unsigned gets = 0;
  unsigned listings = 0;
  unsigned others = 0;
  unsigned connections = 0;
};

class bucket {
 public:
  explicit bucket(std::vector<object> objects) : _objects(std::move(objects)) {}

  // To the head of a request; without Date, which the caller adds.
  std::string answer(std::string_view head) {
    const std::size_t verb_end = head.find(' ');
    const std::size_t target_end = head.find(' ', verb_end + 1);
    const std::string_view verb = head.substr(0, verb_end);
    const std::string_view target = head.substr(verb_end + 1, target_end - verb_end - 1);
    const std::size_t mark = target.find('?');
    // "/bucket/key"
    const std::size_t slash = target.find('/', 1);
    const std::string key =
        slash >= mark ? "" : decoded(target.substr(slash + 1, mark - slash - 1));
    std::map<std::string, std::string> query;
    if (mark != std::string_view::npos) {
      read_query(target.substr(mark + 1), query);
    }
    if (verb == "GET" && query.contains("list-type")) {
      ++seen.listings;
      return with_body("200 OK", "application/xml", "", listing(query));
    }
    if (verb == "GET" && query.contains("uploads")) {
      ++seen.others;
      return with_body("200 OK", "application/xml", "",
                       "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>"
                       "</ListMultipartUploadsResult>");
    }
    if (verb == "GET" && query.empty()) {
      ++seen.gets;
      const auto found = at_or_after(key);
      if (found != _objects.end() && found->key == key && !found->content.empty()) {
        return with_body("200 OK", "application/json", found->tag, found->content);
      }
      return with_body("404 Not Found", "application/xml", "",
                       "<Error><Code>NoSuchKey</Code><Message>not here</Message></Error>");
    }
    ++seen.others;
    return with_body(
        "501 Not Implemented", "application/xml", "",
        "<Error><Code>NotImplemented</Code><Message>to be read only</Message></Error>");
  }

  counts seen;

 private:
  static void read_query(std::string_view text, std::map<std::string, std::string>& into) {
    while (!text.empty()) {
      const std::string_view one = text.substr(0, text.find('&'));
      text.remove_prefix(std::min(text.size(), one.size() + 1));
      const std::size_t equals = one.find('=');
      into[decoded(one.substr(0, equals))] =
          equals == std::string_view::npos ? "" : decoded(one.substr(equals + 1));
    }
  }

  static std::string with_body(const char* status, const char* type, const std::string& tag,
                               const std::string& body) {
    std::string text = std::string("HTTP/1.1 ") + status + "\r\nContent-Type: " + type +
                       "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    if (!tag.empty()) {
      text += "ETag: \"" + tag + "\"\r\n";
    }
    return text + "\r\n" + body;
  }

  [[nodiscard]] std::vector<object>::const_iterator at_or_after(const std::string& key) const {
    return std::lower_bound(
        _objects.begin(), _objects.end(), key,
        [](const object& one, const std::string& wanted) { return one.key < wanted; });
  }

  // Keys of a bench need no escaping.
  std::string listing(std::map<std::string, std::string>& query) const {
    const std::string prefix = query["prefix"];
    const std::string delimiter = query["delimiter"];
    std::string after = query["continuation-token"];
    if (after.empty()) {
      after = query["start-after"];
    }
    std::string entries;
    std::string last;
    std::size_t count = 0;
    auto at = at_or_after(std::max(prefix, after));
    while (at != _objects.end() && at->key.starts_with(prefix) && count < page_objects) {
      if (at->key == after || (after.ends_with('/') && at->key.starts_with(after))) {
        ++at;
        continue;
      }
      const std::size_t cut =
          delimiter.empty() ? std::string::npos : at->key.find(delimiter, prefix.size());
      ++count;
      if (cut == std::string::npos) {
        entries += "<Contents><Key>" + at->key +
                   "</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified><ETag>&quot;" +
                   at->tag + "&quot;</ETag><Size>" + at->size +
                   "</Size><StorageClass>STANDARD</StorageClass></Contents>";
        last = at->key;
        ++at;
      } else {
        last = at->key.substr(0, cut + delimiter.size());
        entries += "<CommonPrefixes><Prefix>" + last + "</Prefix></CommonPrefixes>";
        at = at_or_after(last + '\x7f');
      }
    }
    const bool more = at != _objects.end() && at->key.starts_with(prefix);
    return "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult "
           "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bench</Name><Prefix>" +
           prefix + "</Prefix><KeyCount>" + std::to_string(count) + "</KeyCount><IsTruncated>" +
           (more ? "true" : "false") + "</IsTruncated>" +
           (more ? "<NextContinuationToken>" + last + "</NextContinuationToken>" : "") + entries +
           "</ListBucketResult>";
  }

  std::vector<object> _objects;
};

struct connection {
  std::string received;
  std::string to_send;
  bool first = true;
  std::uint64_t number = 0;  // descriptors are given again
};

struct delayed {
  steady::time_point due;
  int fd;
  std::uint64_t number;
  std::string text;
};

class server {
 public:
  server(bucket from, std::chrono::milliseconds latency)
      : _bucket(std::move(from)), _latency(latency) {
    _poll = ::epoll_create1(EPOLL_CLOEXEC);
    _listener = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in here{};
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof here;
    auto* const name = reinterpret_cast<sockaddr*>(&here);
    if (_poll < 0 || _listener < 0 || ::bind(_listener, name, length) != 0 ||
        ::listen(_listener, 1024) != 0 || ::getsockname(_listener, name, &length) != 0) {
      fail_errno("no socket to listen at");
    }
    watch(_listener, EPOLLIN);
    watch(STDIN_FILENO, EPOLLIN);
    std::printf("%d\n", ntohs(here.sin_port));
    std::fflush(stdout);
  }

  void run() {
    for (;;) {
      epoll_event ready[64];
      const int count = ::epoll_wait(_poll, ready, 64, send_what_is_due());
      for (int i = 0; i < count; ++i) {
        const int fd = ready[i].data.fd;
        if (fd == STDIN_FILENO) {
          if (!tell()) {
            return;
          }
        } else if (fd == _listener) {
          accept_all();
        } else if (!((ready[i].events & EPOLLOUT) != 0 ? send_rest(fd) : receive(fd))) {
          _connections.erase(fd);
          ::close(fd);
        }
      }
    }
  }

 private:
  void watch(int fd, std::uint32_t events) const {
    epoll_event wanted{};
    wanted.events = events;
    wanted.data.fd = fd;
    if (::epoll_ctl(_poll, EPOLL_CTL_ADD, fd, &wanted) != 0) {
      fail_errno("epoll_ctl");
    }
  }

  bool tell() {
    char text[64];
    const ssize_t count = ::read(STDIN_FILENO, text, sizeof text);
    if (count <= 0) {
      return false;
    }
    const counts seen = std::exchange(_bucket.seen, counts());
    std::printf("%u %u %u %u\n", seen.gets, seen.listings, seen.others, seen.connections);
    std::fflush(stdout);
    return true;
  }

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(_listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) {
        return;
      }
      const int on = 1;
      (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      _connections[fd].number = ++_made;
      ++_bucket.seen.connections;
      watch(fd, EPOLLIN);
    }
  }

  bool receive(int fd) {
    connection& one = _connections[fd];
    char text[16'384];
    const ssize_t count = ::read(fd, text, sizeof text);
    if (count <= 0) {
      return count < 0 && errno == EAGAIN;
    }
    one.received.append(text, static_cast<std::size_t>(count));
    for (;;) {
      const std::size_t end = one.received.find("\r\n\r\n");
      if (end == std::string::npos) {
        return one.received.size() < request_bytes_max;
      }
      const auto wait = std::exchange(one.first, false) ? 2 * _latency : _latency;
      delayed later{steady::now() + wait, fd, one.number,
                    _bucket.answer(std::string_view(one.received).substr(0, end))};
      one.received.erase(0, end + 4);
      auto& queue = wait == _latency ? _later : _much_later;
      queue.push_back(std::move(later));
    }
  }

  // How long nothing is due, in whole milliseconds.
  int send_what_is_due() {
    const auto now = steady::now();
    auto next = now + std::chrono::seconds(10);
    for (auto* queue : {&_later, &_much_later}) {
      while (!queue->empty() && queue->front().due <= now) {
        send(queue->front());
        queue->pop_front();
      }
      if (!queue->empty()) {
        next = std::min(next, queue->front().due);
      }
    }
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(next - now).count());
  }

  void send(const delayed& one) {
    const auto found = _connections.find(one.fd);
    if (found == _connections.end() || found->second.number != one.number) {
      return;  // closed since
    }
    found->second.to_send += one.text;
    if (!send_rest(one.fd)) {
      _connections.erase(one.fd);
      ::close(one.fd);
    }
  }

  bool send_rest(int fd) {
    std::string& text = _connections[fd].to_send;
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
      return false;
    }
    text.erase(0, static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
    epoll_event wanted{};
    wanted.events = text.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT;
    wanted.data.fd = fd;
    return ::epoll_ctl(_poll, EPOLL_CTL_MOD, fd, &wanted) == 0;
  }

  bucket _bucket;
  std::chrono::milliseconds _latency;
  int _poll = -1;
  int _listener = -1;
  std::uint64_t _made = 0;
  std::map<int, connection> _connections;
  std::deque<delayed> _later;       // each in the order of their times
  std::deque<delayed> _much_later;  // of connections' first requests
};

}  // namespace

int main(int argc, char** argv) {
  int milliseconds = 0;
  if (argc != 3 ||
      std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), milliseconds).ec != std::errc() ||
      milliseconds < 0) {
    fail("usage: bench_bucket FILE MILLISECONDS");
  }
  server(bucket(read_objects(argv[1])), std::chrono::milliseconds(milliseconds)).run();
  return 0;
}
