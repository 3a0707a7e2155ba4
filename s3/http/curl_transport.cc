#include "s3/http/curl_transport.hh"

#include "engine/assert.hh"
#include "engine/give_up.hh"
#include "engine/secret_string.hh"
#include "engine/stop.hh"
#include "s3/http/web_page.hh"

#include <curl/curl.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <deque>
#include <optional>
#include <span>
#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

namespace {

// Each upload and download buffer; both are libcurl's own maximum granularity of one call. Upload
// cost falls from 0.06 to 0.03 CPU-s/GiB between 64 KiB (the default) and 512 KiB.
constexpr long transfer_buffer_bytes = 512 * 1024;

// Bodies below this go without Expect: 100-continue: sending them costs less than a round trip.
// libcurl applies the same limit to POST.
constexpr std::size_t expect_continue_bytes_min = std::size_t{1} << 20;

// How long to wait for 100 Continue before sending anyway; what AWS's own SDKs wait.
constexpr long expect_continue_timeout_ms = 1000;

// S3 closes idle connections at about 5 s; a connection idle for longer than this is not reused.
constexpr long connection_idle_s_max = 4;

// All header lines of an answer together. S3 sends below 2 KiB besides user metadata (2 KiB).
constexpr std::size_t response_header_bytes_max = 64 * 1024;

// An address has a key of 1 KiB and a continuation token of 8 KiB at most, percent-encoded; a
// header what credentials may have (64 KiB of a document). libcurl takes 8 MB and refuses what is
// longer.
constexpr std::size_t url_bytes_max = 64 * 1024;
constexpr std::size_t request_header_bytes_max = 256 * 1024;

// What a second of a deadline is worth: a question's answer comes no slower than this.
constexpr std::uint64_t answer_bytes_per_second_min = 1024;

// The first that can be read; empty when none can.
std::string first_readable(const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    if (::access(path.c_str(), R_OK) == 0) {
      return path;
    }
  }
  return {};
}

// What to do where this host has no authorities to trust at all.
std::string no_authorities_remedy(const std::vector<std::string>& looked_at) {
  std::string text = "this host has no CA certificates; looked for ";
  for (const std::string& path : looked_at) {
    text += (&path == &looked_at.front() ? "" : ", ") + path;
  }
  return text +
         "; install ca-certificates, or copy that file of another host and name it in "
         "AWS_CA_BUNDLE or s3.ca_bundle";
}

// Memory that libcurl cannot have in the middle of a call ends the program, as memory of its own
// does (engine/give_up.hh); whatever else it refuses is a mistake here.
void must(CURLcode code) {
  if (code == CURLE_OUT_OF_MEMORY) {
    engine::give_up("libcurl", ENOMEM);
  }
  BTS3_ASSERT(code == CURLE_OK);
}

void must(CURLMcode code) {
  if (code == CURLM_OUT_OF_MEMORY) {
    engine::give_up("libcurl", ENOMEM);
  }
  BTS3_ASSERT(code == CURLM_OK);
}

template <typename Value>
void set(CURL* easy, CURLoption option, Value value) {
  must(curl_easy_setopt(easy, option, value));
}

template <typename Value>
void set(CURLM* multi, CURLMoption option, Value value) {
  must(curl_multi_setopt(multi, option, value));
}

// What libcurl did not give.
error not_given(const std::string& what, const std::string& why) {
  error failure;
  failure.what_now = disposition::retry;
  failure.why = reason::system;
  failure.message = what + ": libcurl: " + why;
  failure.remedy = "end other programs, or raise MemoryMax= of the unit";
  return failure;
}

result<void> initialise_libcurl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (code != CURLE_OK) {
    error failure = not_given("setting it up", curl_easy_strerror(code));
    failure.what_now = disposition::fail;
    return failure;
  }
  return engine::ok();
}

std::string lower_case(std::string_view text) {
  std::string lowered(text);
  for (char& letter : lowered) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return lowered;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const std::size_t first = text.find_first_not_of(blanks);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

// "host:port" of an address, for messages.
std::string host_and_port(const std::string& url) {
  CURLU* parts = curl_url();
  if (parts == nullptr) {
    return url;
  }
  char* host = nullptr;
  char* port = nullptr;
  std::string text = url;
  if (curl_url_set(parts, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK &&
      curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
      curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
    text = std::string(host) + ':' + port;
  }
  curl_free(host);
  curl_free(port);
  curl_url_cleanup(parts);
  return text;
}

// Bytes that the peer's TCP has acknowledged and delivered on this socket; 0 when it is none.
std::uint64_t bytes_moved_by_tcp(int fd) {
  tcp_info info{};
  socklen_t length = sizeof info;
  if (fd < 0 || ::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) != 0 ||
      length < offsetof(tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received) {
    return 0;
  }
  return info.tcpi_bytes_acked + info.tcpi_bytes_received;
}

// What a libcurl failure means to the caller.
struct fault {
  CURLcode code;
  disposition what_now;
  reason why;
  const char* what;
  const char* remedy;
};

constexpr const char* tls_remedy =
    "if the endpoint uses its own certificate authority, name its PEM file in s3.ca_bundle; if the "
    "certificate is expired or not yet valid, check this host's clock";

// Of <openssl/x509_vfy.h>, as CURLINFO_SSL_VERIFYRESULT tells it.
constexpr long certificate_not_yet_valid = 9;

// Whether a handshake failed for what the other side is, and not because the connection was lost:
// OpenSSL's own errors, among them "wrong version number" (no TLS at all) and every alert.
bool is_final_handshake(std::string_view detail) {
  const bool of_openssl = detail.find("SSL routines") != std::string_view::npos;
  return of_openssl && detail.find("unexpected eof") == std::string_view::npos;
}

std::string shown(const proxy_server& proxy) {
  return proxy.url + " (" + proxy.from + ")";
}

error wants_login(const std::string& where, const proxy_server& proxy) {
  error failure;
  failure.why = reason::access;
  failure.status = 407;
  failure.code = "proxy_login";
  failure.message = where + ": the proxy " + shown(proxy) +
                    (proxy.user.empty() ? " wants a login (407)"
                                        : " does not accept the login that it was given (407)");
  failure.remedy = (proxy.user.empty() ? "put user and password into " : "correct the login in ") +
                   proxy.from +
                   " (http://user:password@host:port), or list the host in no_proxy; Basic is the "
                   "only kind of login that is supported";
  return failure;
}

constexpr fault faults[] = {
    {CURLE_COULDNT_RESOLVE_HOST, disposition::retry, reason::network, "name resolution failed",
     "check the endpoint's spelling, the region and this host's DNS"},
    {CURLE_COULDNT_RESOLVE_PROXY, disposition::retry, reason::network,
     "name resolution of the proxy failed", ""},
    {CURLE_PROXY, disposition::retry, reason::network, "the proxy did not connect", ""},
    {CURLE_COULDNT_CONNECT, disposition::retry, reason::network, "connection failed",
     "check that the endpoint is up, its port, and the firewall"},
    {CURLE_OPERATION_TIMEDOUT, disposition::retry, reason::network, "connecting timed out",
     "check that the endpoint is up, its port, and the firewall"},
    {CURLE_PEER_FAILED_VERIFICATION, disposition::fail, reason::network,
     "the server's certificate was not accepted", tls_remedy},
    {CURLE_SSL_CACERT_BADFILE, disposition::fail, reason::configuration,
     "the certificate bundle cannot be used",
     "s3.ca_bundle must name a readable PEM file of certificates"},
    {CURLE_SSL_CONNECT_ERROR, disposition::retry, reason::network, "the TLS handshake failed",
     "check that the endpoint's port speaks TLS 1.2 or newer"},
    {CURLE_PARTIAL_FILE, disposition::retry, reason::network, "the answer was cut short", ""},
    {CURLE_GOT_NOTHING, disposition::retry, reason::network,
     "the connection was closed without an answer", ""},
    {CURLE_SEND_ERROR, disposition::retry, reason::network, "the connection broke while sending",
     ""},
    {CURLE_RECV_ERROR, disposition::retry, reason::network, "the connection broke while receiving",
     ""},
    {CURLE_WEIRD_SERVER_REPLY, disposition::retry, reason::network, "the answer is not HTTP",
     "check that the endpoint is an S3 service and its port"},
    {CURLE_UNSUPPORTED_PROTOCOL, disposition::fail, reason::configuration,
     "the address is neither http nor https, or the answer is not HTTP", "check s3.endpoint_url"},
    {CURLE_URL_MALFORMAT, disposition::fail, reason::configuration, "the address is malformed",
     "check s3.endpoint_url and s3.bucket"},
    {CURLE_OUT_OF_MEMORY, disposition::fail, reason::system, "out of memory", ""},
};

constexpr fault other_fault = {CURLE_OK, disposition::retry, reason::network, "the exchange failed",
                               ""};

const fault& fault_of(CURLcode code) {
  const auto* found = std::find_if(std::begin(faults), std::end(faults),
                                   [code](const fault& entry) { return entry.code == code; });
  return found != std::end(faults) ? *found : other_fault;
}

}  // namespace

// One perform(): lives in its coroutine's frame.
struct curl_transport::exchange {
  exchange(engine::reactor& loop, http_request what)
      : request(std::move(what)), done(loop, "an answer of the store"), buffer_freed(loop) {}
  exchange(const exchange&) = delete;
  exchange& operator=(const exchange&) = delete;
  ~exchange() {
    BTS3_ASSERT(easy == nullptr);
    // A token is sent as a header: there it is written down twice.
    for (const curl_slist* line = headers; line != nullptr; line = line->next) {
      engine::wipe(std::as_writable_bytes(std::span(line->data, std::strlen(line->data))));
    }
    curl_slist_free_all(headers);
    for (auto& [name, value] : request.headers) {
      engine::wipe(value);
    }
    if (request.secret_answer) {
      engine::wipe(response.body);
    }
  }

  http_request request;
  engine::event done;
  http_response response;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  transfer_counters* counters = nullptr;
  curl_transport* owner = nullptr;

  std::size_t body_bytes_taken = 0;
  std::size_t header_bytes = 0;
  std::string broken_rule;  // why a callback ended the exchange
  bool malformed = false;  // and whether its answer is none, rather than another than was asked for
  std::array<char, CURL_ERROR_SIZE> curl_text{};
  CURLcode code = CURLE_OK;
  const proxy_server* through = nullptr;
  bool finished = false;
  bool stalled = false;
  std::string stall_text;  // why it was cut

  int socket = -1;                // the one libcurl last waited for on behalf of this exchange
  std::uint64_t bytes_moved = 0;  // to and from libcurl
  std::uint64_t progress_seen = 0;
  clock::time_point progress_at{};
  clock::time_point began_at{};
  std::uint64_t body_bytes_got = 0;
  std::optional<std::uint64_t> window_progress;  // when the crawl_window that runs began
  clock::time_point window_at{};

  // A body that comes from a source: what feed() has fetched and libcurl not taken, in order.
  struct block {
    unsigned buffer;
    std::span<const std::byte> rest;
  };
  std::deque<block> fetched;
  std::vector<unsigned> free_buffers;
  std::uint64_t fetch_offset = 0;
  unsigned starts = 0;  // how often libcurl began anew; fetches from before are dropped
  bool paused = false;
  bool answered = false;       // an answer came while it was paused
  bool held_back = false;      // waits for its turn under a limit
  std::size_t turn_bytes = 0;  // that it may still receive in this turn
  std::optional<error> source_failure;
  engine::event buffer_freed;  // there may be something to fetch
  engine::stop_source feed_stop;
};

// One registration of a descriptor by libcurl.
struct curl_transport::socket_watch {
  explicit socket_watch(int descriptor) : fd(descriptor) {}
  int fd;
  unsigned events = 0;  // POLLIN, POLLOUT
  bool removed = false;
  engine::stop_source* armed = nullptr;  // set while a poll is pending
};

// Everything of libcurl's that has to be cleaned up, in that order.
struct curl_transport::handles {
  handles() : share(curl_share_init()), multi(curl_multi_init()) {
    if (share == nullptr || multi == nullptr) {
      engine::give_up("libcurl", ENOMEM);
    }
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_share_setopt(share, CURLSHOPT_SHARE, CURL_LOCK_DATA_DNS);
  }
  handles(const handles&) = delete;
  handles& operator=(const handles&) = delete;
  ~handles() {
    for (CURL* easy : idle) {
      curl_easy_cleanup(easy);
    }
    curl_multi_cleanup(multi);
    curl_share_cleanup(share);
  }

  CURLSH* share;  // TLS sessions and DNS answers
  CURLM* multi;
  std::vector<CURL*> idle;  // reset, for reuse
};

struct curl_transport::callbacks {
  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void*) {
    static_cast<curl_transport*>(self)->_changes.push_back(socket_change{fd, what});
    char* owner = nullptr;
    if (curl_easy_getinfo(easy, CURLINFO_PRIVATE, &owner) == CURLE_OK && owner != nullptr) {
      reinterpret_cast<exchange*>(owner)->socket = what == CURL_POLL_REMOVE ? -1 : fd;
    }
    return 0;
  }

  static int on_timer(CURLM*, long timeout_ms, void* self) {
    static_cast<curl_transport*>(self)->_curl_deadline =
        timeout_ms < 0 ? clock::time_point::max()
                       : clock::now() + std::chrono::milliseconds(timeout_ms);
    return 0;
  }

  static std::size_t on_read(char* into, std::size_t size, std::size_t count, void* owner) {
    auto& work = *static_cast<exchange*>(owner);
    std::size_t taken = 0;
    std::size_t room = size * count;
    if (const std::uint64_t left = work.request.body.size() - work.body_bytes_taken; left > 0) {
      room = work.owner->_sending.limit.take(
          static_cast<std::size_t>(std::min<std::uint64_t>(room, left)), clock::now());
      if (room == 0) {
        hold_back(work, work.owner->_sending);
        return CURL_READFUNC_PAUSE;
      }
    }
    if (work.request.body.source() != nullptr) {
      taken = take_fetched(work, into, room);
      const bool none = taken == CURL_READFUNC_PAUSE || taken == CURL_READFUNC_ABORT;
      work.owner->_sending.limit.give_back(room - (none ? 0 : taken));
      if (none) {
        return taken;
      }
    } else {
      const auto rest = work.request.body.bytes().subspan(work.body_bytes_taken);
      taken = std::min(room, rest.size());
      if (taken > 0) {
        std::memcpy(into, rest.data(), taken);
      }
    }
    work.body_bytes_taken += taken;
    work.bytes_moved += taken;
    work.counters->body_bytes_sent += taken;
    return taken;
  }

  // Until the limit allows more; it is resumed from the timer, in turn.
  static void hold_back(exchange& work, limited_direction& which) {
    work.paused = true;
    ++work.counters->pauses;
    if (!std::exchange(work.held_back, true)) {
      which.held_back.push_back(&work);
    }
    which.allows = std::min(which.allows, which.limit.next(clock::now()));
  }

  // Whether these bytes may be taken now. libcurl hands out 16 KiB at most, so a turn is overdrawn
  // by little; the limit counts it all.
  static bool may_receive(exchange& work, std::size_t bytes) {
    limited_direction& which = work.owner->_receiving;
    if (!which.limit.limited()) {
      return true;
    }
    const clock::time_point now = clock::now();
    if (work.turn_bytes == 0) {
      if (!which.held_back.empty() || which.limit.next(now) > now) {
        hold_back(work, which);
        return false;
      }
      work.turn_bytes = which.limit.portion();
    }
    work.turn_bytes -= std::min(work.turn_bytes, bytes);
    which.limit.spend(bytes, now);
    return true;
  }

  static std::size_t take_fetched(exchange& work, char* into, std::size_t room) {
    if (work.source_failure) {
      return CURL_READFUNC_ABORT;
    }
    std::size_t taken = 0;
    while (taken < room && !work.fetched.empty()) {
      exchange::block& first = work.fetched.front();
      const std::size_t bytes = std::min(room - taken, first.rest.size());
      std::memcpy(into + taken, first.rest.data(), bytes);
      first.rest = first.rest.subspan(bytes);
      taken += bytes;
      if (first.rest.empty()) {
        work.free_buffers.push_back(first.buffer);
        work.fetched.pop_front();
        work.buffer_freed.set();
      }
    }
    if (taken == 0 && work.body_bytes_taken < work.request.body.size()) {
      work.paused = true;
      ++work.counters->pauses;
      return CURL_READFUNC_PAUSE;
    }
    return taken;
  }

  // libcurl rewinds when it repeats a request on a new connection by itself.
  static int on_seek(void* owner, curl_off_t offset, int origin) {
    auto& work = *static_cast<exchange*>(owner);
    if (origin != SEEK_SET || offset < 0 ||
        static_cast<std::uint64_t>(offset) > work.request.body.size()) {
      return CURL_SEEKFUNC_FAIL;
    }
    if (work.request.body.source() != nullptr &&
        static_cast<std::size_t>(offset) != work.body_bytes_taken) {
      ++work.starts;
      for (const exchange::block& dropped : work.fetched) {
        work.free_buffers.push_back(dropped.buffer);
      }
      work.fetched.clear();
      work.fetch_offset = static_cast<std::uint64_t>(offset);
      work.buffer_freed.set();
    }
    work.body_bytes_taken = static_cast<std::size_t>(offset);
    return CURL_SEEKFUNC_OK;
  }

  static std::size_t on_header(const char* data, std::size_t size, std::size_t count, void* owner) {
    auto& work = *static_cast<exchange*>(owner);
    const std::string_view line(data, size * count);
    work.bytes_moved += line.size();
    work.header_bytes += line.size();
    if (work.header_bytes > response_header_bytes_max) {
      work.broken_rule = "the answer's headers are longer than 64 KiB";
      work.malformed = true;
      return 0;
    }
    if (line.starts_with("HTTP/")) {
      // A new answer: the one before was a 100 Continue or the like.
      work.response = http_response();
      if (const std::size_t blank = line.find(' '); blank != std::string_view::npos) {
        const std::string_view number = line.substr(blank + 1);
        std::from_chars(number.data(), number.data() + number.size(), work.response.status);
      }
    } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
      const std::string_view value = trimmed(line.substr(colon + 1));
      // RFC 9110, section 5.5: such a field is dangerous, and its message may be refused.
      if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
        work.broken_rule = "a header of the answer has a line end in it";
        work.malformed = true;
        return 0;
      }
      work.response.headers.emplace_back(lower_case(trimmed(line.substr(0, colon))),
                                         std::string(value));
    } else if (trimmed(line).empty() && work.response.status >= 200) {
      work.answered = work.paused;
    }
    return line.size();
  }

  static std::size_t on_body(const char* data, std::size_t size, std::size_t count, void* owner) {
    auto& work = *static_cast<exchange*>(owner);
    http_response& response = work.response;
    const std::size_t bytes = size * count;
    const bool wanted =
        work.request.body_target && response.status / 100 == 2 && !says_html(response);
    if (wanted && !may_receive(work, bytes)) {
      return CURL_WRITEFUNC_PAUSE;
    }
    work.bytes_moved += bytes;
    work.body_bytes_got += bytes;
    work.counters->body_bytes_received += bytes;
    if (wanted) {
      const std::span<std::byte> target = *work.request.body_target;
      if (bytes > target.size() - response.body_target_bytes) {
        work.broken_rule =
            "the answer is longer than the " + std::to_string(target.size()) + " bytes asked for";
        return 0;
      }
      if (bytes > 0) {
        std::memcpy(target.data() + response.body_target_bytes, data, bytes);
      }
      response.body_target_bytes += bytes;
      return bytes;
    }
    if (bytes > work.request.collected_body_bytes_max - response.body.size()) {
      work.broken_rule = "the answer is longer than " +
                         std::to_string(work.request.collected_body_bytes_max) + " bytes";
      return 0;
    }
    if (work.request.secret_answer) {
      response.body.reserve(work.request.collected_body_bytes_max);
    }
    response.body.append(data, bytes);
    return bytes;
  }
};

result<std::unique_ptr<curl_transport>> curl_transport::create(engine::reactor& loop,
                                                               curl_options options) {
  BTS3_ASSERT(options.connections_max >= 1 && options.crawl_window.count() > 0);
  const bool own_authorities = !options.ca_bundle.empty() || !options.ca_directory.empty();
  if (!own_authorities) {
    options.ca_bundle = first_readable(options.system_ca_bundles);
  } else if (!options.ca_bundle.empty() && ::access(options.ca_bundle.c_str(), R_OK) != 0) {
    error failure = engine::system_error(errno, options.ca_bundle_from + " " + options.ca_bundle,
                                         "it must name a readable PEM file of certificates");
    failure.what_now = disposition::fail;
    failure.why = reason::configuration;
    return failure;
  }
  if (auto ready = initialise_libcurl(); !ready) {
    return std::move(ready.error());
  }
  std::unique_ptr<curl_transport> made(new curl_transport(loop, std::move(options)));
  made->_own_authorities = own_authorities;
  return made;
}

curl_transport::curl_transport(engine::reactor& loop, curl_options options)
    : _loop(loop),
      _options(std::move(options)),
      _handles(std::make_unique<handles>()),
      _scope(loop),
      _sending(_options.send_bytes_per_second),
      _receiving(_options.receive_bytes_per_second),
      _timer_poked(loop) {
  CURLM* multi = _handles->multi;
  set(multi, CURLMOPT_SOCKETFUNCTION, &callbacks::on_socket);
  set(multi, CURLMOPT_SOCKETDATA, this);
  set(multi, CURLMOPT_TIMERFUNCTION, &callbacks::on_timer);
  set(multi, CURLMOPT_TIMERDATA, this);
  set(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(_options.connections_max));
  set(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
}

curl_transport::~curl_transport() {
  BTS3_ASSERT(_exchanges.empty() && _watches.empty());
}

namespace {

// Whatever ends up in a request, a store's answer or the environment may have said first.
result<void> check(const http_request& request) {
  error failure;
  failure.message = host_and_port(request.url.substr(0, url_bytes_max)) + ": " + request.method;
  if (request.url.size() > url_bytes_max) {
    failure.message += ": an address of " + std::to_string(request.url.size()) + " bytes";
    return failure;
  }
  for (const auto& [name, value] : request.headers) {
    constexpr std::string_view line_ends("\r\n\0", 3);
    if (name.find_first_of(line_ends) != std::string::npos || name.find(':') != std::string::npos ||
        value.find_first_of(line_ends) != std::string::npos) {
      failure.message += ": the header " + name.substr(0, name.find_first_of(line_ends)) +
                         " would have a line end in it";
      return failure;
    }
    if (name.size() + value.size() > request_header_bytes_max) {
      failure.message +=
          ": the header " + name + " would have " + std::to_string(value.size()) + " bytes";
      return failure;
    }
  }
  return engine::ok();
}

}  // namespace

task<result<http_response>> curl_transport::perform(http_request request, engine::stop_token stop) {
  BTS3_ASSERT(!_closing);
  if (stop.stop_requested()) {
    co_return engine::cancelled_error();
  }
  if (auto sound = check(request); !sound) {
    co_return std::move(sound.error());
  }
  exchange work(_loop, std::move(request));
  engine::async_scope feeding(_loop);
  if (const engine::body_source* source = work.request.body.source()) {
    BTS3_ASSERT(source->buffers() >= 2);
    for (unsigned buffer = source->buffers(); buffer > 0; --buffer) {
      work.free_buffers.push_back(buffer - 1);
    }
    feeding.spawn(feed(work));
  }
  result<http_response> answer = engine::cancelled_error();
  if (auto started = start(work); started) {
    auto waiting = work.done.wait(stop);
    auto ended = co_await std::move(waiting);
    answer = ended ? outcome(work) : result<http_response>(std::move(ended.error()));
    finish(work);
  } else {
    answer = std::move(started.error());
  }
  // The kernel may still write to the source's buffers.
  work.feed_stop.request_stop();
  co_await feeding.join();
  co_return answer;
}

namespace {

// The options that are the same for every exchange.
void set_conduct(CURL* easy, const curl_options& options) {
  set(easy, CURLOPT_NOSIGNAL, 1L);
  set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set(easy, CURLOPT_PATH_AS_IS, 1L);
  set(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options.ca_bundle.empty()) {
    set(easy, CURLOPT_CAINFO, options.ca_bundle.c_str());
  }
  set(easy, CURLOPT_TCP_NODELAY, 1L);
  set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set(easy, CURLOPT_MAXAGE_CONN, connection_idle_s_max);
  set(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, expect_continue_timeout_ms);
  set(easy, CURLOPT_UPLOAD_BUFFERSIZE, transfer_buffer_bytes);
  set(easy, CURLOPT_BUFFERSIZE, transfer_buffer_bytes);
  // A stop during name resolution must not wait for getaddrinfo: its thread ends by itself.
  set(easy, CURLOPT_QUICK_EXIT, 1L);
}

// What libcurl does with its own rules and the environment is settled before: NOPROXY is all or
// nothing.
void set_proxy(CURL* easy, const proxy_server* through, const std::string& ca_bundle) {
  set(easy, CURLOPT_PROXY, through != nullptr ? through->url.c_str() : "");
  set(easy, CURLOPT_NOPROXY, through != nullptr ? "" : "*");
  if (through == nullptr) {
    return;
  }
  set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  if (!through->user.empty() || !through->password.empty()) {
    set(easy, CURLOPT_PROXYUSERNAME, through->user.c_str());
    set(easy, CURLOPT_PROXYPASSWORD, through->password.c_str());
  }
  if (!ca_bundle.empty()) {
    set(easy, CURLOPT_PROXY_CAINFO, ca_bundle.c_str());
  }
}

// Into `lines` libcurl's list of header lines for `request`, none of its own additions but Expect;
// false when it has no memory for them, and then some are there.
bool add_header_lines(const http_request& request, curl_slist*& lines) {
  bool complete = true;
  const auto add = [&](std::string line) {
    const engine::wiped afterwards(line);
    curl_slist* longer = complete ? curl_slist_append(lines, line.c_str()) : nullptr;
    complete = longer != nullptr;
    lines = complete ? longer : lines;
  };
  bool expect_decided = false;
  for (const auto& [name, value] : request.headers) {  // check()ed
    if (lower_case(name) == "expect") {
      expect_decided = true;
      add(value.empty() ? "Expect:" : "Expect: " + value);
    } else {
      // "Name;" is libcurl's spelling of a header without a value; "Name:" would remove it.
      add(value.empty() ? name + ';' : name + ": " + value);
    }
  }
  if (!expect_decided && request.body.size() < expect_continue_bytes_min) {
    add("Expect:");
  }
  add("Accept:");
  return complete;
}

}  // namespace

// Takes the exchange to libcurl; an error leaves nothing of it there.
result<void> curl_transport::start(exchange& work) {
  const http_request& request = work.request;
  BTS3_ASSERT(request.stall_timeout.count() > 0);
  const auto refused = [&request](const char* why) {
    return not_given(host_and_port(request.url) + ": " + request.method, why);
  };
  if (!add_header_lines(request, work.headers)) {
    return refused("no memory for the request's headers");
  }
  if (_handles->idle.empty()) {
    work.easy = curl_easy_init();
    if (work.easy == nullptr) {
      return refused("no handle for a request");
    }
  } else {
    work.easy = _handles->idle.back();
    _handles->idle.pop_back();
  }
  work.counters = &_counters;
  work.owner = this;
  CURL* easy = work.easy;
  set_conduct(easy, _options);
  work.through = request.direct ? nullptr : _options.proxies.for_url(request.url);
  set_proxy(easy, work.through, _options.ca_bundle);
  if (_own_authorities) {
    // libcurl would trust its own file and directory of certificates besides.
    const std::string& file = _options.ca_bundle;
    const std::string& directory = _options.ca_directory;
    set(easy, CURLOPT_CAINFO, file.empty() ? nullptr : file.c_str());
    set(easy, CURLOPT_CAPATH, directory.empty() ? nullptr : directory.c_str());
    if (work.through != nullptr) {
      set(easy, CURLOPT_PROXY_CAINFO, file.empty() ? nullptr : file.c_str());
      set(easy, CURLOPT_PROXY_CAPATH, directory.empty() ? nullptr : directory.c_str());
    }
  }
  set(easy, CURLOPT_SHARE, _handles->share);
  set(easy, CURLOPT_PRIVATE, &work);
  set(easy, CURLOPT_ERRORBUFFER, work.curl_text.data());
  set(easy, CURLOPT_URL, request.url.c_str());
  set(easy, CURLOPT_HTTPHEADER, work.headers);
  set(easy, CURLOPT_HEADERFUNCTION, &callbacks::on_header);
  set(easy, CURLOPT_HEADERDATA, &work);
  set(easy, CURLOPT_WRITEFUNCTION, &callbacks::on_body);
  set(easy, CURLOPT_WRITEDATA, &work);
  // libcurl repeats a request by itself when a pooled connection turns out to be dead. A POST
  // (CreateMultipartUpload) must not be carried out twice unnoticed, so it gets a new connection.
  const bool fresh = request.fresh_connection || request.method == "POST";
  set(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
  if (request.method == "HEAD") {
    set(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT" || request.method == "POST") {
    // An upload under whichever name: with CURLOPT_POST libcurl would add a Content-Type.
    set(easy, CURLOPT_UPLOAD, 1L);
    set(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    set(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(easy, CURLOPT_READFUNCTION, &callbacks::on_read);
    set(easy, CURLOPT_READDATA, &work);
    set(easy, CURLOPT_SEEKFUNCTION, &callbacks::on_seek);
    set(easy, CURLOPT_SEEKDATA, &work);
  } else {
    BTS3_ASSERT(request.body.empty());
    set(easy, CURLOPT_HTTPGET, 1L);
    if (request.method != "GET") {
      set(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }

  if (!_timer_running) {
    _timer_running = true;
    _scope.spawn(run_timer());
  }
  BTS3_ASSERT(!_inside_curl);
  _inside_curl = true;
  const CURLMcode code = curl_multi_add_handle(_handles->multi, easy);
  _inside_curl = false;
  if (code != CURLM_OK) {
    curl_easy_cleanup(std::exchange(work.easy, nullptr));
    return refused(curl_multi_strerror(code));
  }
  ++_counters.exchanges;
  work.progress_at = clock::now();
  work.began_at = work.progress_at;
  _exchanges.push_back(&work);
  _stall_check = std::min(_stall_check, work.progress_at + look_again_after(work));
  settle();
  return engine::ok();
}

// Takes the exchange away from libcurl: an unfinished one's connection is closed, a finished one's
// was put back for reuse before. Its spans are not touched any more.
void curl_transport::finish(exchange& work) {
  BTS3_ASSERT(!_inside_curl && work.easy != nullptr);
  long connections = 0;
  curl_easy_getinfo(work.easy, CURLINFO_NUM_CONNECTS, &connections);
  _counters.connections += static_cast<std::uint64_t>(std::max(connections, 0L));
  std::erase(_exchanges, &work);
  std::erase(_sending.held_back, &work);
  std::erase(_receiving.held_back, &work);
  if (_exchanges.empty()) {
    _stall_check = clock::time_point::max();
  }
  _inside_curl = true;
  const CURLMcode code = curl_multi_remove_handle(_handles->multi, work.easy);
  _inside_curl = false;
  must(code);
  // A handle that failed may have kept its buffers (7.88 does after a malformed address) and then
  // refuses to have their sizes set.
  const bool reusable = work.finished && work.code == CURLE_OK;
  if (reusable && _handles->idle.size() < _options.connections_max) {
    curl_easy_reset(work.easy);
    _handles->idle.push_back(work.easy);
  } else {
    curl_easy_cleanup(work.easy);
  }
  work.easy = nullptr;
  settle();
}

// Whether there is no way through the proxy, by what it said; nullopt: it did not say so.
std::optional<error> curl_transport::refused_by_proxy(const exchange& work) const {
  long answered = 0;
  curl_easy_getinfo(work.easy, CURLINFO_HTTP_CONNECTCODE, &answered);
  const bool unwrapped = work.finished && work.code == CURLE_OK && work.response.status == 407;
  if (work.through == nullptr || (!unwrapped && (work.code == CURLE_OK || answered < 300))) {
    return std::nullopt;
  }
  const std::string where = host_and_port(work.request.url);
  if (unwrapped || answered == 407) {
    return wants_login(where, *work.through);
  }
  error failure;
  failure.what_now = answered >= 500 ? disposition::retry : disposition::fail;
  failure.why = answered >= 500 ? reason::network : reason::access;
  failure.code = "proxy_refused";
  failure.message = where + ": the proxy " + shown(*work.through) +
                    (answered >= 500 ? " cannot connect to it" : " refuses to connect to it") +
                    " (CONNECT was answered with " + std::to_string(answered) + ")";
  failure.remedy = "have the proxy allow CONNECT to " + where +
                   ", or list the host in no_proxy if it can be reached without";
  return failure;
}

// A libcurl failure.
error curl_transport::broken_off(const exchange& work) const {
  const fault& known = fault_of(work.code);
  const std::string_view detail =
      work.curl_text[0] != '\0' ? work.curl_text.data() : curl_easy_strerror(work.code);
  error failure;
  failure.what_now = known.what_now;
  failure.why = known.why;
  const bool about_trust =
      known.code == CURLE_PEER_FAILED_VERIFICATION || known.code == CURLE_SSL_CACERT_BADFILE;
  failure.remedy = about_trust && _options.ca_bundle.empty() && _options.ca_directory.empty()
                       ? no_authorities_remedy(_options.system_ca_bundles)
                       : known.remedy;
  failure.message = host_and_port(work.request.url);
  if (work.through != nullptr) {
    failure.message += " through the proxy " + shown(*work.through);
  }
  failure.message += std::string(": ") + known.what;
  long system_code = 0;
  curl_easy_getinfo(work.easy, CURLINFO_OS_ERRNO, &system_code);
  if (system_code != 0 && known.code == CURLE_COULDNT_CONNECT) {
    failure.message += std::string(": ") + ::strerrordesc_np(static_cast<int>(system_code));
  }
  failure.message += " (";
  failure.message += detail;
  failure.message += ')';

  long verified = 0;
  curl_easy_getinfo(work.easy, CURLINFO_SSL_VERIFYRESULT, &verified);
  if (known.code == CURLE_PEER_FAILED_VERIFICATION && verified == certificate_not_yet_valid) {
    // A machine without a clock of its own begins somewhere in the past.
    failure.what_now = disposition::retry;
    failure.at_boot = true;
    failure.remedy = "set this host's clock (NTP), which seems to be behind";
  } else if (known.code == CURLE_SSL_CONNECT_ERROR && is_final_handshake(detail)) {
    failure.what_now = disposition::fail;
    if (detail.find("wrong version number") != std::string_view::npos) {
      failure.message += ": nobody speaks TLS there";
      failure.remedy =
          "check the port, or write http:// in s3.endpoint_url if the store has no TLS";
    }
  } else if (known.code == CURLE_UNSUPPORTED_PROTOCOL && work.request.url.starts_with("http://")) {
    failure.remedy = "check the port, or write https:// in s3.endpoint_url if the store speaks TLS";
  }
  const bool unreachable = known.code == CURLE_COULDNT_CONNECT ||
                           known.code == CURLE_OPERATION_TIMEDOUT ||
                           known.code == CURLE_COULDNT_RESOLVE_PROXY || known.code == CURLE_PROXY;
  if (work.through != nullptr && unreachable) {
    failure.remedy = "check " + work.through->from +
                     " and that the proxy is up, or list the host in "
                     "no_proxy if it can be reached without";
  }
  return failure;
}

result<http_response> curl_transport::outcome(exchange& work) const {
  if (auto refused = refused_by_proxy(work); refused && !work.stalled) {
    return std::move(*refused);
  }
  if (work.finished && work.code == CURLE_OK) {
    work.response.proxy = work.through != nullptr ? shown(*work.through) : "";
    return std::move(work.response);
  }
  const std::string where = host_and_port(work.request.url);
  error failure;
  if (work.stalled) {
    failure.what_now = disposition::retry;
    failure.why = reason::network;
    failure.code = "stalled";
    failure.message = where + ": " + work.request.method + " stalled: " + work.stall_text +
                      ", after " + std::to_string(work.body_bytes_taken) + " of " +
                      std::to_string(work.request.body.size()) + " bytes";
    return failure;
  }
  BTS3_ASSERT(work.finished);
  if (!work.broken_rule.empty()) {
    failure.what_now = work.malformed ? disposition::retry : disposition::fail;
    failure.why = work.malformed ? reason::network : reason::protocol;
    failure.status = work.malformed ? 0 : work.response.status;
    failure.message = where + ": " + work.request.method + ": " + work.broken_rule;
    return failure;
  }
  if (work.source_failure && work.code == CURLE_ABORTED_BY_CALLBACK) {
    failure = *work.source_failure;
    return std::move(failure).within(where + ": the body of " + work.request.method);
  }
  return broken_off(work);
}

// Hands one event to libcurl and does what its callbacks recorded meanwhile.
void curl_transport::act(int fd, int readiness) {
  BTS3_ASSERT(!_inside_curl);
  int running = 0;
  _inside_curl = true;
  const CURLMcode code = curl_multi_socket_action(_handles->multi, fd, readiness, &running);
  _inside_curl = false;
  must(code);
  settle();
}

void curl_transport::settle() {
  for (const socket_change& change : _changes) {
    apply(change);
  }
  _changes.clear();
  collect_finished();
  for (exchange* work : _exchanges) {
    if (std::exchange(work->answered, false)) {
      resume(*work);
    }
  }
  wake_timer_by(std::min({_curl_deadline, _stall_check, _sending.allows, _receiving.allows}));
}

void curl_transport::apply(const socket_change& change) {
  const auto found = _watches.find(change.fd);
  if (change.what == CURL_POLL_REMOVE || change.what == CURL_POLL_NONE) {
    if (found != _watches.end()) {
      socket_watch& watched = *found->second;
      watched.removed = true;
      if (watched.armed != nullptr) {
        watched.armed->request_stop();
      }
      _watches.erase(found);
    }
    return;
  }
  const unsigned events =
      (change.what & CURL_POLL_IN ? POLLIN : 0U) | (change.what & CURL_POLL_OUT ? POLLOUT : 0U);
  if (found != _watches.end()) {
    socket_watch& watched = *found->second;
    if (watched.events != events) {
      watched.events = events;
      if (watched.armed != nullptr) {
        watched.armed->request_stop();  // its watch polls again, with the new events
      }
    }
    return;
  }
  auto watched = std::make_shared<socket_watch>(change.fd);
  watched->events = events;
  _watches.emplace(change.fd, watched);
  _scope.spawn(watch(std::move(watched)));
}

void curl_transport::collect_finished() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(_handles->multi, &left)) {
    BTS3_ASSERT(message->msg == CURLMSG_DONE);
    char* owner = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
    BTS3_ASSERT(owner != nullptr);
    auto& work = *reinterpret_cast<exchange*>(owner);
    work.finished = true;
    work.code = message->data.result;
    work.done.set();
  }
}

// Keeps the source's buffers full, ahead of libcurl.
task<void> curl_transport::feed(exchange& work) {
  engine::body_source& source = *work.request.body.source();
  while (!work.feed_stop.stop_requested()) {
    if (work.free_buffers.empty() || work.fetch_offset == source.size()) {
      work.buffer_freed.reset();
      auto waiting = work.buffer_freed.wait(work.feed_stop.token());
      static_cast<void>(co_await std::move(waiting));  // stopped: the loop ends
      continue;
    }
    const unsigned buffer = work.free_buffers.back();
    work.free_buffers.pop_back();
    const unsigned start = work.starts;
    auto fetching = source.fetch(buffer, work.fetch_offset, work.feed_stop.token());
    auto got = co_await std::move(fetching);
    if (work.feed_stop.stop_requested()) {
      break;
    }
    if (start != work.starts) {
      work.free_buffers.push_back(buffer);  // not what is wanted any more
      continue;
    }
    if (!got) {
      work.source_failure = std::move(got.error());
      resume(work);
      break;
    }
    BTS3_ASSERT(!got->empty() && got->size() <= source.size() - work.fetch_offset);
    work.fetch_offset += got->size();
    work.fetched.push_back(exchange::block{buffer, *got});
    resume(work);
  }
}

// Lets a paused transfer go on: libcurl will ask for its body again, or end it.
void curl_transport::resume(exchange& work) {
  if (!work.paused || work.easy == nullptr || work.finished) {
    return;
  }
  BTS3_ASSERT(!_inside_curl);
  work.paused = false;
  _inside_curl = true;
  const CURLcode code = curl_easy_pause(work.easy, CURLPAUSE_CONT);
  _inside_curl = false;
  if (code != CURLE_OK) {
    work.finished = true;
    work.code = code;
    work.done.set();
  }
  settle();
}

// Whoever was held back longest takes a portion and, if it wants more, queues up again.
void curl_transport::go_on_within_limit(limited_direction& which, clock::time_point now) {
  which.allows = clock::time_point::max();
  for (std::size_t turns = which.held_back.size();
       turns > 0 && !which.held_back.empty() && which.limit.next(now) <= now; --turns) {
    exchange& work = *which.held_back.front();
    which.held_back.pop_front();
    work.held_back = false;
    work.turn_bytes = which.limit.portion();
    resume(work);
  }
  if (!which.held_back.empty()) {
    which.allows = std::max(which.limit.next(now), now + std::chrono::milliseconds(1));
  }
}

task<void> curl_transport::watch(std::shared_ptr<socket_watch> watched) {
  while (!watched->removed) {
    engine::stop_source armed;
    watched->armed = &armed;
    auto polling = _loop.poll(watched->fd, watched->events, armed.token());
    const auto ready = co_await std::move(polling);
    watched->armed = nullptr;
    if (watched->removed) {
      break;
    }
    if (ready) {
      // An error or hang-up is for libcurl to find out by reading and writing.
      const bool broken = (*ready & (POLLERR | POLLHUP | POLLNVAL)) != 0;
      int readiness = 0;
      readiness |= broken || (*ready & POLLIN) != 0 ? CURL_CSELECT_IN : 0;
      readiness |= broken || (*ready & POLLOUT) != 0 ? CURL_CSELECT_OUT : 0;
      act(watched->fd, readiness);
    } else if (ready.error().what_now != disposition::cancelled) {
      act(watched->fd, CURL_CSELECT_ERR);
    }
  }
}

void curl_transport::wake_timer_by(clock::time_point when) {
  if (when == clock::time_point::max()) {
    return;
  }
  if (_timer_sleep == nullptr) {
    _timer_poked.set();
  } else if (when < _timer_sleeps_until) {
    _timer_sleep->request_stop();
  }
  // A sleep that ends too early only looks around and sleeps again: cheaper than cancelling it.
}

task<void> curl_transport::run_timer() {
  while (!_closing) {
    const clock::time_point due =
        std::min({_curl_deadline, _stall_check, _sending.allows, _receiving.allows});
    const clock::time_point now = clock::now();
    if (due == clock::time_point::max()) {
      _timer_poked.reset();
      auto waiting = _timer_poked.wait();
      static_cast<void>(co_await std::move(waiting));
    } else if (due > now) {
      engine::stop_source sleep;
      _timer_sleep = &sleep;
      _timer_sleeps_until = due;
      auto sleeping = _loop.sleep_until(due, sleep.token());
      static_cast<void>(co_await std::move(sleeping));
      _timer_sleep = nullptr;
    } else {
      if (_curl_deadline <= now) {
        _curl_deadline = clock::time_point::max();
        act(CURL_SOCKET_TIMEOUT, 0);
      }
      if (_stall_check <= now) {
        look_for_stalls(now);
      }
      for (limited_direction* which : {&_sending, &_receiving}) {
        if (which->allows <= now) {
          go_on_within_limit(*which, now);
        }
      }
      co_await _loop.yield();
    }
  }
}

std::string curl_transport::overdue(exchange& work, std::uint64_t progress,
                                    clock::time_point now) const {
  const http_request& request = work.request;
  if (progress != work.progress_seen || work.paused) {
    work.progress_seen = progress;
    work.progress_at = now;
  } else if (now - work.progress_at >= request.stall_timeout) {
    return "no byte moved for " + std::to_string(request.stall_timeout.count()) + " ms";
  }
  if (request.deadline) {
    const auto allowed =
        *request.deadline + std::chrono::seconds(work.body_bytes_got / answer_bytes_per_second_min);
    return now - work.began_at < allowed
               ? std::string()
               : "no whole answer in " + std::to_string(allowed.count()) + " ms, " +
                     std::to_string(work.body_bytes_got) + " bytes of it";
  }
  const bool reconnected = work.window_progress && progress < *work.window_progress;
  if (work.paused || reconnected || !work.window_progress) {
    work.window_progress = progress;
    work.window_at = now;
  } else if (now - work.window_at >= _options.crawl_window) {
    const std::uint64_t moved = progress - *work.window_progress;
    if (moved < _options.crawl_bytes_min) {
      return "only " + std::to_string(moved) + " bytes moved in " +
             std::to_string(_options.crawl_window.count()) + " ms";
    }
    work.window_progress = progress;
    work.window_at = now;
  }
  return {};
}

std::chrono::milliseconds curl_transport::look_again_after(const exchange& work) const {
  const http_request& request = work.request;
  return std::max(
      std::min(request.stall_timeout, request.deadline.value_or(_options.crawl_window)) / 4,
      std::chrono::milliseconds(1));
}

void curl_transport::look_for_stalls(clock::time_point now) {
  _stall_check = clock::time_point::max();
  for (exchange* work : _exchanges) {
    const std::uint64_t progress = work->bytes_moved + bytes_moved_by_tcp(work->socket);
    std::string why = overdue(*work, progress, now);
    if (!why.empty() && !work->finished && !work->stalled) {
      work->stalled = true;
      work->stall_text = std::move(why);
      ++_counters.stalls;
      work->done.set();
    }
    _stall_check = std::min(_stall_check, now + look_again_after(*work));
  }
}

task<void> curl_transport::close() {
  BTS3_ASSERT(_exchanges.empty() && !_closing && !_inside_curl);
  _closing = true;
  _handles.reset();
  _changes.clear();  // every socket is closed now
  for (const auto& [fd, watched] : _watches) {
    watched->removed = true;
    if (watched->armed != nullptr) {
      watched->armed->request_stop();
    }
  }
  _watches.clear();
  if (_timer_sleep != nullptr) {
    _timer_sleep->request_stop();
  }
  _timer_poked.set();
  co_await _scope.join();
}

}  // namespace bts3::s3
