#include "tests/support/scripted_s3_server.hh"

#include <arpa/inet.h>
#include <libdeflate.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <list>
#include <mutex>
#include <pugixml.hpp>
#include <stdexcept>
#include <thread>

#include "tests/support/tls_context.hh"

namespace bts3::testing {

namespace {

constexpr std::size_t head_bytes_max = 64 * 1024;
constexpr std::size_t part_bytes_min = 5 * 1024 * 1024;

void require(bool condition, const char* what) {
  if (!condition) {
    throw std::runtime_error(std::string("scripted S3 server: ") + what);
  }
}

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  }
  return text;
}

std::string hex(const unsigned char* bytes, std::size_t count) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += digits[bytes[i] >> 4];
    text += digits[bytes[i] & 15];
  }
  return text;
}

std::string digest(const char* algorithm, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
  unsigned length = 0;
  require(EVP_Digest(bytes.data(), bytes.size(), value.data(), &length,
                     EVP_get_digestbyname(algorithm), nullptr) == 1,
          "digest");
  return {reinterpret_cast<const char*>(value.data()), length};
}

std::string hex_digest(const char* algorithm, std::string_view bytes) {
  const std::string value = digest(algorithm, bytes);
  return hex(reinterpret_cast<const unsigned char*>(value.data()), value.size());
}

std::string base64(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3), '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  return text;
}

std::string crc32_base64(std::string_view bytes) {
  const std::uint32_t value = libdeflate_crc32(0, bytes.data(), bytes.size());
  const char big_endian[] = {static_cast<char>(value >> 24), static_cast<char>(value >> 16),
                             static_cast<char>(value >> 8), static_cast<char>(value)};
  return base64({big_endian, 4});
}

std::string decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      unsigned value = 0;
      std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16);
      plain += static_cast<char>(value);
      i += 2;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string encoded(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (std::isalnum(byte) != 0 || std::strchr("-_.~/", letter) != nullptr) {
      out += letter;
    } else {
      out += '%';
      for (char& digit : std::string(hex(&byte, 1))) {
        out += static_cast<char>(std::toupper(static_cast<unsigned char>(digit)));
      }
    }
  }
  return out;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char letter : text) {
    switch (letter) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += letter;
    }
  }
  return out;
}

std::string element(const char* name, std::string_view value) {
  return std::string("<") + name + '>' + escaped(value) + "</" + name + '>';
}

constexpr const char* xml_declaration = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
constexpr const char* xml_namespace = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

std::string document(const char* root, const std::string& content) {
  return std::string(xml_declaration) + '<' + root + xml_namespace + '>' + content + "</" + root +
         '>';
}

std::string in_quotes(std::string_view tag) {
  return '"' + std::string(tag) + '"';
}

std::string unquoted(std::string tag) {
  std::erase(tag, '"');
  return tag;
}

std::string http_date(std::time_t when) {
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  std::array<char, 64> text{};
  std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text.data();
}

using time_point = std::chrono::system_clock::time_point;

// The midnight (UTC) that follows: S3 rounds the end of a restored copy up to it.
time_point next_midnight(time_point when) {
  return std::chrono::floor<std::chrono::days>(when) + std::chrono::days(1);
}

// In an archive tier of INTELLIGENT_TIERING.
bool tiered(const scripted_s3_server::object_state& object) {
  return object.headers.contains("x-amz-archive-status");
}

bool in_archive(const scripted_s3_server::object_state& object) {
  const auto stored = object.headers.find("x-amz-storage-class");
  const std::string name = stored != object.headers.end() ? stored->second : "";
  return name == "GLACIER" || name == "DEEP_ARCHIVE" || tiered(object);
}

bool in_deep_archive(const scripted_s3_server::object_state& object) {
  return tiered(object) ? object.headers.at("x-amz-archive-status") == "DEEP_ARCHIVE_ACCESS"
                        : object.headers.at("x-amz-storage-class") == "DEEP_ARCHIVE";
}

bool can_be_read(const scripted_s3_server::object_state& object, time_point now) {
  return !in_archive(object) ||
         (object.restore && object.restore->ready <= now && now < object.restore->expires);
}

// Of x-amz-date (20130524T000000Z); -1 when it is none.
std::time_t basic_time(const std::string& text) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), "%Y%m%dT%H%M%SZ", &parts);
  return end != nullptr && *end == '\0' ? ::timegm(&parts) : -1;
}

std::string error_document(const std::string& code, const server_headers& headers,
                           const std::string& message) {
  std::string content =
      element("Code", code) + element("Message", message.empty() ? "scripted: " + code : message);
  for (const auto& [name, value] : headers) {
    if (lower(name) == "x-amz-bucket-region") {
      content += element("Region", value);
    }
  }
  content += element("RequestId", "4442587FB7D0A2F9") + element("HostId", "scripted");
  return std::string(xml_declaration) + "<Error>" + content + "</Error>";
}

server_answer failure(int status, const std::string& code, server_headers headers = {},
                      const std::string& message = {}) {
  server_answer answer;
  answer.status = status;
  answer.body = error_document(code, headers, message);
  answer.headers = std::move(headers);
  answer.set("Content-Type", "application/xml");
  return answer;
}

server_answer success(std::string body = {}) {
  server_answer answer;
  if (!body.empty()) {
    answer.set("Content-Type", "application/xml");
  }
  answer.body = std::move(body);
  return answer;
}

unsigned number(const std::string& text, unsigned otherwise) {
  unsigned value = otherwise;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string value_of(const std::map<std::string, std::string>& from, const std::string& name) {
  const auto found = from.find(name);
  return found != from.end() ? found->second : std::string();
}

s3_verb verb_of(const recorded_request& request) {
  const std::string& method = request.method;
  if (request.key.empty()) {
    if (method == "HEAD") {
      return s3_verb::head_bucket;
    }
    if (method == "GET") {
      return request.has_query("uploads") ? s3_verb::list_uploads : s3_verb::list_objects;
    }
    return s3_verb::other;
  }
  const bool upload = request.has_query("uploadId");
  if (method == "PUT") {
    return upload ? s3_verb::upload_part : s3_verb::put_object;
  }
  if (method == "GET") {
    return upload ? s3_verb::list_parts : s3_verb::get_object;
  }
  if (method == "HEAD") {
    return s3_verb::head_object;
  }
  if (method == "DELETE") {
    return upload ? s3_verb::abort_upload : s3_verb::delete_object;
  }
  if (method == "POST") {
    if (request.has_query("uploads")) {
      return s3_verb::create_upload;
    }
    if (upload) {
      return s3_verb::complete_upload;
    }
    if (request.has_query("restore")) {
      return s3_verb::restore_object;
    }
  }
  return s3_verb::other;
}

void split_target(recorded_request& request) {
  const std::size_t mark = request.target.find('?');
  std::string_view path = std::string_view(request.target).substr(0, mark);
  path.remove_prefix(path.starts_with('/') ? 1 : 0);
  const std::size_t slash = path.find('/');
  request.bucket = decoded(path.substr(0, slash));
  request.key = slash == std::string_view::npos ? "" : decoded(path.substr(slash + 1));
  if (mark == std::string::npos) {
    return;
  }
  std::string_view query = std::string_view(request.target).substr(mark + 1);
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    const std::size_t equals = pair.find('=');
    request.query[decoded(pair.substr(0, equals))] =
        equals == std::string_view::npos ? "" : decoded(pair.substr(equals + 1));
  }
}

bool parse_head(std::string_view head, recorded_request& request) {
  std::size_t end = head.find("\r\n");
  const std::string_view line = head.substr(0, end);
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == std::string_view::npos || last <= first) {
    return false;
  }
  request.method = line.substr(0, first);
  request.target = line.substr(first + 1, last - first - 1);
  while (end != std::string_view::npos) {
    head.remove_prefix(end + 2);
    end = head.find("\r\n");
    const std::string_view field = head.substr(0, end);
    const std::size_t colon = field.find(':');
    if (colon != std::string_view::npos) {
      std::string_view value = field.substr(colon + 1);
      value.remove_prefix(std::min(value.find_first_not_of(' '), value.size()));
      request.headers[lower(std::string(field.substr(0, colon)))] = value;
    }
  }
  split_target(request);
  request.verb = verb_of(request);
  return true;
}

// The headers of a write that stay with the object.
std::map<std::string, std::string> kept_headers(const recorded_request& request) {
  std::map<std::string, std::string> kept;
  for (const auto& [name, value] : request.headers) {
    if (name == "content-type" || name == "x-amz-storage-class" ||
        name.starts_with("x-amz-server-side-encryption") || name.starts_with("x-amz-meta-")) {
      kept[name] = value;
    }
  }
  return kept;
}

// One connection's socket, plain or TLS. shut() is for other threads; the rest for its own.
class peer {
 public:
  explicit peer(int fd) : _fd(fd) {}
  ~peer() { close(); }
  peer(const peer&) = delete;
  peer& operator=(const peer&) = delete;

  bool handshake(SSL_CTX* context) {
    _tls = SSL_new(context);
    SSL_set_fd(_tls, _fd);
    return SSL_accept(_tls) == 1;
  }

  // 0: the other side is gone.
  std::size_t read(char* into, std::size_t bytes) {
    if (!_pending.empty()) {
      const std::size_t taken = std::min(bytes, _pending.size());
      std::memcpy(into, _pending.data(), taken);
      _pending.erase(0, taken);
      return taken;
    }
    const auto got = _tls != nullptr ? SSL_read(_tls, into, static_cast<int>(bytes))
                                     : ::recv(_fd, into, bytes, 0);
    return got > 0 ? static_cast<std::size_t>(got) : 0;
  }

  // The next request's head without its empty line; empty when there is none.
  std::string read_head() {
    std::string head;
    std::array<char, 16384> piece;
    for (;;) {
      const std::size_t end = head.find("\r\n\r\n");
      if (end != std::string::npos) {
        _pending = head.substr(end + 4) + _pending;
        head.resize(end);
        return head;
      }
      const std::size_t got = head.size() < head_bytes_max ? read(piece.data(), piece.size()) : 0;
      if (got == 0) {
        return {};
      }
      head.append(piece.data(), got);
      if (std::isupper(static_cast<unsigned char>(head.front())) == 0) {
        return {};  // not HTTP: a TLS handshake, perhaps
      }
    }
  }

  bool write(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::size_t piece = std::min<std::size_t>(bytes.size(), 1 << 20);
      const auto sent = _tls != nullptr ? SSL_write(_tls, bytes.data(), static_cast<int>(piece))
                                        : ::send(_fd, bytes.data(), piece, MSG_NOSIGNAL);
      if (sent <= 0) {
        return false;
      }
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Says that nothing more comes and waits (up to a second) for the other side to close, so that
  // unread input does not turn the close into a reset that destroys the answer on its way.
  void linger() {
    ::shutdown(_fd, SHUT_WR);
    std::array<char, 16384> piece;
    pollfd readable{_fd, POLLIN, 0};
    while (::poll(&readable, 1, 1000) > 0 && ::recv(_fd, piece.data(), piece.size(), 0) > 0) {
    }
  }

  void reset() {
    const ::linger none{1, 0};
    ::setsockopt(_fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  }

  void shut() {
    const std::lock_guard lock(_mutex);
    if (_fd >= 0) {
      ::shutdown(_fd, SHUT_RDWR);
    }
  }

  void close() {
    SSL_free(std::exchange(_tls, nullptr));
    const std::lock_guard lock(_mutex);
    if (_fd >= 0) {
      ::close(std::exchange(_fd, -1));
    }
  }

 private:
  std::mutex _mutex;  // guards closing against shut()
  int _fd;
  SSL* _tls = nullptr;
  std::string _pending;
};

// A listening socket on 127.0.0.1; port 0: any.
int listen_locally(int& port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(fd >= 0, "socket");
  // So that the port can be taken again while connections of before linger.
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  require(::bind(fd, reinterpret_cast<sockaddr*>(&address), length) == 0, "bind");
  require(::listen(fd, 128) == 0, "listen");
  require(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
  port = ntohs(address.sin_port);
  return fd;
}

}  // namespace

std::string recorded_request::header(const std::string& name) const {
  return value_of(headers, name);
}

void server_answer::set(const std::string& name, std::string value) {
  for (auto& [key, old] : headers) {
    if (lower(key) == lower(name)) {
      old = std::move(value);
      return;
    }
  }
  headers.emplace_back(name, std::move(value));
}

void server_answer::erase(std::string_view name) {
  std::erase_if(headers,
                [&](const auto& field) { return lower(field.first) == lower(std::string(name)); });
}

scripted_action scripted_action::answer(int status, std::string code, server_headers headers) {
  scripted_action made(kind::answer);
  made._answer = failure(status, code, std::move(headers));
  return made;
}
scripted_action scripted_action::page(int status) {
  scripted_action made(kind::answer);
  made._of_the_store = false;
  made._answer.status = status;
  made._answer.set("Content-Type", "text/html");
  made._answer.body = "<html><head><title>Refused</title></head><body>nginx</body></html>";
  return made;
}
scripted_action scripted_action::answer_before_body(int status, std::string code,
                                                    server_headers headers) {
  scripted_action made(kind::answer_before_body);
  made._answer = failure(status, code, std::move(headers));
  return made;
}
scripted_action scripted_action::reset_after(std::size_t body_bytes) {
  scripted_action made(kind::reset_after);
  made._bytes = body_bytes;
  return made;
}
scripted_action scripted_action::perform_then_reset() {
  return scripted_action(kind::perform_then_reset);
}
scripted_action scripted_action::perform_then(std::function<void(server_answer&)> change) {
  scripted_action made(kind::perform_then);
  made._change = std::move(change);
  return made;
}
scripted_action scripted_action::stall_after(std::size_t body_bytes) {
  scripted_action made(kind::stall_after);
  made._bytes = body_bytes;
  return made;
}
scripted_action scripted_action::stall_before_answer() {
  return scripted_action(kind::stall_before_answer);
}
scripted_action scripted_action::stall_in_answer(std::size_t body_bytes) {
  scripted_action made(kind::stall_in_answer);
  made._bytes = body_bytes;
  return made;
}
scripted_action scripted_action::read_slowly(std::size_t piece_bytes,
                                             std::chrono::milliseconds pause) {
  scripted_action made(kind::read_slowly);
  made._bytes = piece_bytes;
  made._pause = pause;
  return made;
}
scripted_action scripted_action::go_away(std::chrono::milliseconds time) {
  scripted_action made(kind::go_away);
  made._pause = time;
  return made;
}

scripted_action scripted_action::answer_slowly(std::size_t piece_bytes,
                                               std::chrono::milliseconds pause) {
  scripted_action made(kind::answer_slowly);
  made._bytes = piece_bytes;
  made._pause = pause;
  return made;
}
scripted_action scripted_action::cut_answer(std::size_t body_bytes, bool reset) {
  scripted_action made(kind::cut_answer);
  made._bytes = body_bytes;
  made._reset = reset;
  return made;
}
scripted_action scripted_action::error_in_200(std::string code) {
  scripted_action made = answer(200, std::move(code));
  // S3 sends the declaration at once and blanks while it works, to keep the connection alive.
  made._answer.body.insert(std::strlen(xml_declaration), "   \n");
  return made;
}
scripted_action scripted_action::forget_upload() {
  return scripted_action(kind::forget_upload);
}
scripted_action scripted_action::perform_then_no_such_upload() {
  return perform_then([](server_answer& answer) { answer = failure(404, "NoSuchUpload"); });
}

struct scripted_s3_server::impl {
  struct rule {
    request_match match;
    scripted_action action;
    unsigned seen = 0;
  };
  struct connection {
    connection(int fd, unsigned serial, bool with_tls, int port)
        : socket(fd), id(serial), tls(with_tls), peer_port(port) {}
    peer socket;
    unsigned id;
    bool tls;
    int peer_port;
    bool ended = false;  // guarded by `mutex`
    std::thread thread;
  };

  scripted_s3_options options;
  int http_port = 0;
  int https_port = 0;
  int http_listener = -1;
  int https_listener = -1;
  SSL_CTX* tls_context = nullptr;
  std::string ca_file;
  std::vector<std::thread> acceptors;

  std::atomic<std::int64_t> held_seconds =
      -1;  // the clock's time since the epoch; -1: the system's
  std::atomic<std::int64_t> seconds_ahead = 0;  // of the system's
  std::atomic<bool> judges_time = false;        // refuses skewed signatures

  mutable std::mutex mutex;  // guards everything below
  std::condition_variable changed;
  bool stopping = false;
  unsigned stall_releases = 0;
  std::size_t stalls_begun = 0;
  std::chrono::milliseconds away{0};  // the plain listener is to close for that long
  bool is_away = false;               // and what arrives meanwhile arrives nowhere
  std::list<connection> connections;
  std::vector<recorded_request> log;
  std::size_t log_forgotten = 0;
  std::vector<rule> rules;
  struct refused_key {
    std::string code;
    int status;
  };
  std::map<std::string, refused_key> refused_keys;
  std::map<std::string, std::map<std::string, object_state>> buckets;
  std::map<std::string, upload_state> uploads;
  unsigned uploads_made = 0;

  void accept_all(int listener, bool tls);
  void serve(connection& self);
  bool exchange(connection& self, recorded_request& request);
  std::optional<scripted_action> pick(const recorded_request& request);
  std::optional<server_answer> early_refusal(const recorded_request& request);
  std::optional<server_answer> refused_signature(const recorded_request& request);
  bool read_body(connection& self, const recorded_request& request, std::string& body,
                 std::size_t limit, const scripted_action* action);
  bool send(connection& self, const recorded_request& request, server_answer answer, bool close,
            const scripted_action* action);
  void stall();
  std::size_t record(const recorded_request& request);
  void update(std::size_t index, const std::function<void(recorded_request&)>& change);

  [[nodiscard]] time_point now() const {
    const std::int64_t held = held_seconds;
    return held < 0 ? std::chrono::system_clock::now() + std::chrono::seconds(seconds_ahead)
                    : time_point(std::chrono::seconds(held));
  }

  // The verbs; `mutex` is held.
  server_answer perform(const recorded_request& request, std::string body);
  server_answer put_object(const recorded_request& request, std::string body);
  server_answer read_object(const recorded_request& request);
  server_answer restore_object(const recorded_request& request, const std::string& body);
  void add_object_headers(server_answer& answer, const object_state& object) const;
  [[nodiscard]] std::chrono::seconds thaw_time(bool deep, const std::string& tier) const;
  server_answer list_objects(const recorded_request& request);
  server_answer create_upload(const recorded_request& request);
  server_answer upload_part(const recorded_request& request, std::string body);
  server_answer complete_upload(const recorded_request& request, const std::string& body);
  server_answer list_parts(const recorded_request& request);
  server_answer list_uploads(const recorded_request& request);
  std::optional<server_answer> unmet_condition(const recorded_request& request, bool write);
  object_state* find(const std::string& bucket, const std::string& key);
  upload_state* find_upload(const recorded_request& request);
};

scripted_s3_server::scripted_s3_server(scripted_s3_options options)
    : _impl(std::make_unique<impl>()) {
  impl& self = *_impl;
  self.options = std::move(options);
  for (const std::string& name : self.options.buckets) {
    self.buckets[name];
  }
  self.http_listener = listen_locally(self.http_port);
  if (self.options.tls) {
    const char* directory = std::getenv("TMPDIR");
    self.ca_file = std::string(directory != nullptr ? directory : "/tmp") + "/scripted-s3-" +
                   std::to_string(::getpid()) + '-' + std::to_string(self.http_port) + ".pem";
    self.tls_context = make_tls_context(self.ca_file, self.options.certificate_valid_from);
    self.https_listener = listen_locally(self.https_port);
    self.acceptors.emplace_back([&self] { self.accept_all(self.https_listener, true); });
  }
  self.acceptors.emplace_back([&self] { self.accept_all(self.http_listener, false); });
}

scripted_s3_server::~scripted_s3_server() {
  stop();
}

void scripted_s3_server::stop() {
  impl& self = *_impl;
  {
    const std::lock_guard lock(self.mutex);
    if (std::exchange(self.stopping, true)) {
      return;
    }
    self.changed.notify_all();
  }
  // Wakes accept().
  ::shutdown(self.http_listener, SHUT_RDWR);
  if (self.https_listener >= 0) {
    ::shutdown(self.https_listener, SHUT_RDWR);
  }
  for (std::thread& acceptor : self.acceptors) {
    acceptor.join();
  }
  // No connection is added any more.
  for (impl::connection& one : self.connections) {
    one.socket.shut();
  }
  for (impl::connection& one : self.connections) {
    one.thread.join();
  }
  self.connections.clear();
  ::close(self.http_listener);
  if (self.https_listener >= 0) {
    ::close(self.https_listener);
    ::unlink(self.ca_file.c_str());
  }
  SSL_CTX_free(std::exchange(self.tls_context, nullptr));
}

void scripted_s3_server::impl::accept_all(int listener, bool tls) {
  for (;;) {
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const int fd = ::accept4(listener, reinterpret_cast<sockaddr*>(&from), &length, SOCK_CLOEXEC);
    std::unique_lock lock(mutex);
    if (fd < 0 || stopping) {
      if (fd >= 0) {
        ::close(fd);
      }
      if (stopping) {
        return;
      }
      if (away.count() > 0 && !tls) {
        ::close(std::exchange(http_listener, -1));
        changed.wait_for(lock, std::exchange(away, std::chrono::milliseconds(0)),
                         [this] { return stopping; });
        if (stopping) {
          return;
        }
        listener = http_listener = listen_locally(http_port);
        is_away = false;
      }
      continue;
    }
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection& made = connections.emplace_back(fd, static_cast<unsigned>(connections.size() + 1),
                                                tls, ntohs(from.sin_port));
    made.thread = std::thread([this, &made] { serve(made); });
  }
}

void scripted_s3_server::impl::serve(connection& self) {
  // OpenSSL writes without MSG_NOSIGNAL.
  sigset_t broken_pipe;
  sigemptyset(&broken_pipe);
  sigaddset(&broken_pipe, SIGPIPE);
  ::pthread_sigmask(SIG_BLOCK, &broken_pipe, nullptr);
  if (!self.tls || self.socket.handshake(tls_context)) {
    for (;;) {
      const std::string head = self.socket.read_head();
      recorded_request request;
      request.connection = self.id;
      request.tls = self.tls;
      if (head.empty() || !parse_head(head, request) || !exchange(self, request)) {
        break;
      }
    }
  }
  ERR_clear_error();
  self.socket.close();
  const std::lock_guard lock(mutex);
  self.ended = true;
  changed.notify_all();
}

std::size_t scripted_s3_server::impl::record(const recorded_request& request) {
  const std::lock_guard lock(mutex);
  log.push_back(request);
  return log_forgotten + log.size() - 1;
}

void scripted_s3_server::impl::update(std::size_t index,
                                      const std::function<void(recorded_request&)>& change) {
  const std::lock_guard lock(mutex);
  if (index >= log_forgotten) {
    change(log[index - log_forgotten]);
  }
}

std::optional<scripted_action> scripted_s3_server::impl::pick(const recorded_request& request) {
  const std::lock_guard lock(mutex);
  std::optional<scripted_action> chosen;
  for (rule& candidate : rules) {
    const request_match& match = candidate.match;
    if ((match.verb != s3_verb::any && match.verb != request.verb) ||
        request.key.find(match.key_contains) == std::string::npos ||
        (!match.query_key.empty() && !request.has_query(match.query_key)) ||
        (!match.query_value.empty() &&
         value_of(request.query, match.query_key) != match.query_value) ||
        (!match.header.empty() &&
         (!request.headers.contains(match.header) ||
          request.header(match.header).find(match.header_contains) == std::string::npos))) {
      continue;
    }
    ++candidate.seen;
    if (!chosen && candidate.seen >= match.nth &&
        (match.times == 0 || candidate.seen < match.nth + match.times)) {
      chosen = candidate.action;
    }
  }
  return chosen;
}

// Whose signature is no good any more, or made at another time.
std::optional<server_answer> scripted_s3_server::impl::refused_signature(
    const recorded_request& request) {
  const std::time_t signed_at = basic_time(request.header("x-amz-date"));
  if (judges_time && std::abs(signed_at - std::chrono::system_clock::to_time_t(now())) > 15 * 60) {
    return failure(403, "RequestTimeTooSkewed");
  }
  const std::string authorization = request.header("authorization");
  for (const auto& [id, refusal] : refused_keys) {
    if (authorization.find("Credential=" + id + '/') != std::string::npos) {
      return failure(refusal.status, refusal.code);
    }
  }
  return std::nullopt;
}

// What S3 refuses from the head alone.
std::optional<server_answer> scripted_s3_server::impl::early_refusal(
    const recorded_request& request) {
  if (request.header("authorization").empty()) {
    return failure(403, "AccessDenied");
  }
  const std::lock_guard lock(mutex);
  if (auto refusal = refused_signature(request)) {
    return refusal;
  }
  if (!buckets.contains(request.bucket)) {
    return failure(404, "NoSuchBucket");
  }
  if (request.verb == s3_verb::upload_part && find_upload(request) == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  if (options.refuse_checksums_status != 0) {
    for (const auto& [name, value] : request.headers) {
      if (name.starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm") {
        // 501 as AWS says it of unknown headers, else in the words of Backblaze B2.
        return options.refuse_checksums_status == 501
                   ? failure(501, "NotImplemented")
                   : failure(options.refuse_checksums_status, "InvalidArgument", {},
                             "Unsupported header '" + name + "' received for this API call.");
      }
    }
  }
  return std::nullopt;
}

bool scripted_s3_server::impl::read_body(connection& self, const recorded_request& request,
                                         std::string& body, std::size_t limit,
                                         const scripted_action* action) {
  std::size_t declared = 0;
  const std::string length = request.header("content-length");
  std::from_chars(length.data(), length.data() + length.size(), declared);
  const std::size_t wanted = std::min(declared, limit);
  const bool slowly = action != nullptr && action->_kind == scripted_action::kind::read_slowly;
  const std::size_t piece_max = slowly ? action->_bytes : std::size_t{1} << 20;
  if (request.header("expect") == "100-continue" && wanted > 0 &&
      !self.socket.write("HTTP/1.1 100 Continue\r\n\r\n")) {
    return false;
  }
  body.reserve(wanted);
  std::vector<char> piece(std::min(piece_max, std::max<std::size_t>(wanted, 1)));
  while (body.size() < wanted) {
    const std::size_t got =
        self.socket.read(piece.data(), std::min(piece.size(), wanted - body.size()));
    if (got == 0) {
      return false;
    }
    body.append(piece.data(), got);
    if (slowly) {
      std::this_thread::sleep_for(action->_pause);
    }
  }
  return true;
}

bool scripted_s3_server::impl::send(connection& self, const recorded_request& request,
                                    server_answer answer, bool close,
                                    const scripted_action* action) {
  using kind = scripted_action::kind;
  const kind how = action != nullptr ? action->_kind : kind::answer;
  const bool head = request.method == "HEAD";
  const bool bodiless = head || answer.status == 204;
  std::string text = "HTTP/1.1 " + std::to_string(answer.status) + " Scripted\r\n";
  const auto has = [&answer](const char* name) {
    return std::any_of(answer.headers.begin(), answer.headers.end(),
                       [name](const auto& field) { return lower(field.first) == name; });
  };
  if (!has("date")) {
    answer.set("Date", http_date(std::chrono::system_clock::to_time_t(now())));
  }
  if (!has("content-length") && answer.status != 204) {
    answer.set("Content-Length", std::to_string(answer.body.size()));
  }
  if (action == nullptr || action->_of_the_store) {
    answer.set("x-amz-request-id", "4442587FB7D0A2F9");
    answer.set("Server", "ScriptedS3");
  }
  if (close) {
    answer.set("Connection", "close");
  }
  for (const auto& [name, value] : answer.headers) {
    text += name + ": " + value + "\r\n";
  }
  text += "\r\n";
  const std::string_view body = bodiless ? std::string_view() : std::string_view(answer.body);
  if (how == kind::answer_slowly) {
    const std::string all = text + std::string(body);
    for (std::size_t at = 0; at < all.size(); at += action->_bytes) {
      if (!self.socket.write(std::string_view(all).substr(at, action->_bytes))) {
        return false;
      }
      std::this_thread::sleep_for(action->_pause);
    }
  } else if (how == kind::cut_answer || how == kind::stall_in_answer) {
    self.socket.write(text);
    self.socket.write(body.substr(0, action->_bytes));
    if (how == kind::stall_in_answer) {
      stall();
    } else if (action->_reset) {
      self.socket.reset();
    }
    return false;
  } else {
    text.append(body);
    if (!self.socket.write(text)) {
      return false;
    }
  }
  if (close) {
    self.socket.linger();
  }
  return !close;
}

void scripted_s3_server::impl::stall() {
  std::unique_lock lock(mutex);
  const unsigned release = stall_releases;
  ++stalls_begun;
  changed.notify_all();
  changed.wait(lock, [&] { return stopping || stall_releases != release; });
}

// One request and its answer; false when the connection is over.
bool scripted_s3_server::impl::exchange(connection& self, recorded_request& request) {
  using kind = scripted_action::kind;
  {
    const std::lock_guard lock(mutex);
    if (is_away) {
      return false;
    }
  }
  const std::size_t index = record(request);
  const std::optional<scripted_action> picked = pick(request);
  const scripted_action* action = picked ? &*picked : nullptr;
  const auto is = [action](kind what) { return action != nullptr && action->_kind == what; };
  const auto answered = [&](int status) {
    update(index, [status](recorded_request& entry) { entry.status = status; });
  };
  if (is(kind::go_away)) {
    const std::lock_guard lock(mutex);
    away = action->_pause;
    is_away = true;
    ::shutdown(http_listener, SHUT_RDWR);  // wakes accept()
    for (connection& other : connections) {
      other.socket.shut();
    }
    return false;
  }
  if (is(kind::answer_before_body)) {
    answered(action->_answer.status);
    return send(self, request, action->_answer, true, nullptr);
  }
  if (is(kind::forget_upload)) {
    const std::lock_guard lock(mutex);
    uploads.erase(value_of(request.query, "uploadId"));
  }
  if (action == nullptr || is(kind::forget_upload)) {
    if (auto refusal = early_refusal(request)) {
      const bool has_body = number(request.header("content-length"), 0) > 0;
      answered(refusal->status);
      return send(self, request, std::move(*refusal), has_body, nullptr);
    }
  }

  const bool partly = is(kind::reset_after) || is(kind::stall_after);
  std::string body;
  const bool whole = read_body(self, request, body, partly ? action->_bytes : SIZE_MAX, action);
  request.body_bytes = body.size();
  request.body_sha256 = hex_digest("SHA256", body);
  update(index, [&request](recorded_request& entry) {
    entry.body_bytes = request.body_bytes;
    entry.body_sha256 = request.body_sha256;
  });
  if (partly || is(kind::stall_before_answer)) {
    if (is(kind::reset_after)) {
      self.socket.reset();
    } else {
      stall();
    }
    return false;
  }
  if (!whole) {
    return false;
  }
  if (is(kind::answer)) {
    answered(action->_answer.status);
    return send(self, request, action->_answer, false, action);
  }
  server_answer answer;
  {
    const std::lock_guard lock(mutex);
    answer = perform(request, std::move(body));
  }
  if (is(kind::perform_then_reset)) {
    self.socket.reset();
    return false;
  }
  if (is(kind::perform_then)) {
    action->_change(answer);
  }
  answered(answer.status);
  return send(self, request, std::move(answer), false, action);
}

server_answer scripted_s3_server::impl::perform(const recorded_request& request, std::string body) {
  const std::string declared = request.header("x-amz-content-sha256");
  if (declared.size() == 64 && declared != request.body_sha256) {
    return failure(400, "XAmzContentSHA256Mismatch");
  }
  const std::string crc32 = request.header("x-amz-checksum-crc32");
  if (!crc32.empty() && crc32 != crc32_base64(body)) {
    return failure(400, "BadDigest");
  }
  const std::string md5 = request.header("content-md5");
  if (!md5.empty() && md5 != base64(digest("MD5", body))) {
    return failure(400, "BadDigest");
  }
  if (options.demand_digests && crc32.empty() && md5.empty() &&
      (request.verb == s3_verb::put_object || request.verb == s3_verb::upload_part)) {
    return failure(400, "InvalidRequest", {},
                   "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests "
                   "with Object Lock parameters");
  }
  switch (request.verb) {
    case s3_verb::put_object:
      return put_object(request, std::move(body));
    case s3_verb::get_object:
    case s3_verb::head_object:
      return read_object(request);
    case s3_verb::delete_object: {
      buckets[request.bucket].erase(request.key);
      server_answer answer;
      answer.status = 204;
      return answer;
    }
    case s3_verb::restore_object:
      return restore_object(request, body);
    case s3_verb::list_objects:
      return list_objects(request);
    case s3_verb::head_bucket: {
      server_answer answer;
      answer.set("x-amz-bucket-region", options.region);
      return answer;
    }
    case s3_verb::create_upload:
      return create_upload(request);
    case s3_verb::upload_part:
      return upload_part(request, std::move(body));
    case s3_verb::complete_upload:
      return complete_upload(request, body);
    case s3_verb::abort_upload: {
      if (uploads.erase(value_of(request.query, "uploadId")) == 0) {
        return failure(404, "NoSuchUpload");
      }
      server_answer answer;
      answer.status = 204;
      return answer;
    }
    case s3_verb::list_parts:
      return list_parts(request);
    case s3_verb::list_uploads:
      return list_uploads(request);
    case s3_verb::any:
    case s3_verb::other:
      break;
  }
  return failure(501, "NotImplemented");
}

scripted_s3_server::object_state* scripted_s3_server::impl::find(const std::string& bucket,
                                                                 const std::string& key) {
  auto& objects = buckets[bucket];
  const auto found = objects.find(key);
  return found != objects.end() ? &found->second : nullptr;
}

scripted_s3_server::upload_state* scripted_s3_server::impl::find_upload(
    const recorded_request& request) {
  const auto found = uploads.find(value_of(request.query, "uploadId"));
  if (found == uploads.end() || found->second.bucket != request.bucket ||
      found->second.key != request.key) {
    return nullptr;
  }
  return &found->second;
}

std::optional<server_answer> scripted_s3_server::impl::unmet_condition(
    const recorded_request& request, bool write) {
  const object_state* there = find(request.bucket, request.key);
  if (request.header("if-none-match") == "*" && there != nullptr) {
    return failure(412, "PreconditionFailed");
  }
  const std::string wanted = request.header("if-match");
  if (!wanted.empty()) {
    if (there == nullptr) {
      return failure(404, "NoSuchKey");
    }
    if (wanted != "*" && unquoted(wanted) != there->etag) {
      return failure(412, "PreconditionFailed");
    }
  }
  if (!write && there == nullptr) {
    return failure(404, "NoSuchKey");
  }
  return std::nullopt;
}

server_answer scripted_s3_server::impl::put_object(const recorded_request& request,
                                                   std::string body) {
  if (auto refusal = unmet_condition(request, true)) {
    return *refusal;
  }
  object_state& made = buckets[request.bucket][request.key];
  made.etag = hex_digest("MD5", body);
  made.body = std::move(body);
  made.headers = kept_headers(request);
  server_answer answer;
  answer.set("ETag", in_quotes(made.etag));
  return answer;
}

server_answer scripted_s3_server::impl::read_object(const recorded_request& request) {
  if (auto refusal = unmet_condition(request, false)) {
    return *refusal;
  }
  const object_state& object = *find(request.bucket, request.key);
  if (request.verb == s3_verb::get_object && !options.archives_in_name_only &&
      !can_be_read(object, now())) {
    return failure(403, "InvalidObjectState", {},
                   "The operation is not valid for the object's storage class");
  }
  server_answer answer;
  add_object_headers(answer, object);
  answer.set("ETag", in_quotes(object.etag));
  answer.set("Last-Modified", http_date(std::chrono::system_clock::to_time_t(now())));
  answer.set("Accept-Ranges", "bytes");
  const std::size_t size = object.body.size();
  std::size_t first = 0;
  std::size_t last = size == 0 ? 0 : size - 1;
  const std::string range = request.header("range");
  if (range.starts_with("bytes=")) {
    const std::size_t dash = range.find('-');
    const char* end = range.data() + range.size();
    if (dash == 6) {
      std::size_t suffix = 0;
      std::from_chars(range.data() + 7, end, suffix);
      first = size - std::min(size, suffix);
    } else {
      std::from_chars(range.data() + 6, range.data() + dash, first);
      std::from_chars(range.data() + dash + 1, end, last);
      last = std::min(last, size == 0 ? 0 : size - 1);
    }
    if (first >= size || last < first) {
      return failure(416, "InvalidRange");
    }
    answer.status = 206;
    answer.set("Content-Range", "bytes " + std::to_string(first) + '-' + std::to_string(last) +
                                    '/' + std::to_string(size));
  }
  answer.body = object.body.substr(first, size == 0 ? 0 : last - first + 1);
  return answer;
}

void scripted_s3_server::impl::add_object_headers(server_answer& answer,
                                                  const object_state& object) const {
  const auto& restore = object.restore;
  for (const auto& [name, value] : object.headers) {
    const bool is_default = name == "x-amz-storage-class" && value == "STANDARD";
    const bool moved_back = name == "x-amz-archive-status" && restore && restore->ready <= now();
    if (!is_default && !moved_back) {
      answer.set(name, value);
    }
  }
  if (!restore || restore->expires <= now()) {
    return;
  }
  if (restore->ready > now()) {
    answer.set("x-amz-restore", "ongoing-request=\"true\"");
  } else if (!tiered(object)) {
    answer.set("x-amz-restore",
               "ongoing-request=\"false\", expiry-date=\"" +
                   http_date(std::chrono::system_clock::to_time_t(restore->expires)) + '"');
  }
}

// The longest of "Archive retrieval options", Amazon S3 User Guide.
std::chrono::seconds scripted_s3_server::impl::thaw_time(bool deep, const std::string& tier) const {
  using std::chrono::hours;
  if (options.thaw_takes) {
    return *options.thaw_takes;
  }
  if (tier == "Expedited") {
    return std::chrono::minutes(5);
  }
  return tier == "Bulk" ? hours(deep ? 48 : 12) : hours(deep ? 12 : 5);
}

server_answer scripted_s3_server::impl::restore_object(const recorded_request& request,
                                                       const std::string& body) {
  if (options.refuse_restores_status != 0) {
    return options.refuse_restores_status == 405 ? failure(405, "MethodNotAllowed")
                                                 : failure(501, "NotImplemented");
  }
  object_state* object = find(request.bucket, request.key);
  if (object == nullptr) {
    return failure(404, "NoSuchKey");
  }
  pugi::xml_document xml;
  const bool parsed = static_cast<bool>(xml.load_string(body.c_str()));
  const pugi::xml_node root = xml.child("RestoreRequest");
  const std::string named = root.child("GlacierJobParameters").child_value("Tier");
  const std::string tier = named.empty() ? "Standard" : named;
  const unsigned days = root.child("Days").text().as_uint();
  if (!parsed || !root || (root.child("Days") && days == 0) ||
      (tier != "Standard" && tier != "Bulk" && tier != "Expedited")) {
    return failure(400, "MalformedXML");
  }
  if (!in_archive(*object) || options.archives_in_name_only ||
      (tiered(*object) && can_be_read(*object, now()))) {
    return failure(403, "InvalidObjectState", {},
                   "Restore is not allowed for the object's current storage class");
  }
  if (tiered(*object) && days != 0) {
    return failure(400, "InvalidArgument", {},
                   "INTELLIGENT_TIERING objects are not subject to restore expiry. Do not specify "
                   "Days when restoring this object");
  }
  if (!tiered(*object) && days == 0) {
    return failure(400, "MalformedXML");
  }
  const bool deep = in_deep_archive(*object);
  if (deep && tier == "Expedited") {
    return failure(400, "InvalidArgument", {},
                   "Retrieval option is not supported by this storage class");
  }
  auto& restore = object->restore;
  if (restore && restore->ready > now()) {
    return failure(409, "RestoreAlreadyInProgress", {}, "Object restore is already in progress");
  }
  server_answer answer;
  const bool there = restore && restore->expires > now();
  if (!there) {
    answer.status = 202;
    restore.emplace();
    restore->ready = now() + thaw_time(deep, tier);
  }
  restore->expires =
      tiered(*object) ? time_point::max()
                      : next_midnight((there ? now() : restore->ready) + std::chrono::days(days));
  return answer;
}

server_answer scripted_s3_server::impl::list_objects(const recorded_request& request) {
  const std::string prefix = value_of(request.query, "prefix");
  const std::string delimiter = value_of(request.query, "delimiter");
  const bool url = value_of(request.query, "encoding-type") == "url";
  const std::size_t page = std::min<std::size_t>(number(value_of(request.query, "max-keys"), 1000),
                                                 options.list_page_max);
  std::string after = value_of(request.query, "start-after");
  const std::string token = value_of(request.query, "continuation-token");
  if (!token.empty()) {
    if (!token.starts_with("after+/=:")) {
      return failure(400, "InvalidArgument");
    }
    after = token.substr(9);
  }
  const auto name = [url](const std::string& key) { return url ? encoded(key) : key; };
  std::string content;
  std::string last;
  std::string last_group;
  std::size_t count = 0;
  bool truncated = false;
  for (const auto& [key, object] : buckets[request.bucket]) {
    if (!key.starts_with(prefix) || key <= after ||
        (!delimiter.empty() && after.ends_with(delimiter) && key.starts_with(after))) {
      continue;
    }
    const std::size_t cut =
        delimiter.empty() ? std::string::npos : key.find(delimiter, prefix.size());
    const std::string group = cut == std::string::npos ? "" : key.substr(0, cut + delimiter.size());
    if (!group.empty() && group == last_group) {
      continue;
    }
    if (count == page) {
      truncated = true;
      break;
    }
    ++count;
    last = group.empty() ? key : group;
    last_group = group;
    if (group.empty()) {
      const std::string stored = value_of(object.headers, "x-amz-storage-class");
      content += "<Contents>" + element("Key", name(key)) +
                 element("LastModified", "2026-01-02T03:04:05.000Z") +
                 element("ETag", in_quotes(object.etag)) +
                 element("Size", std::to_string(object.body.size())) +
                 element("StorageClass", stored.empty() ? "STANDARD" : stored) + "</Contents>";
    } else {
      content += "<CommonPrefixes>" + element("Prefix", name(group)) + "</CommonPrefixes>";
    }
  }
  std::string head = element("Name", request.bucket) + element("Prefix", name(prefix)) +
                     element("KeyCount", std::to_string(count)) +
                     element("MaxKeys", std::to_string(page)) +
                     element("IsTruncated", truncated ? "true" : "false");
  if (url) {
    head += element("EncodingType", "url");
  }
  if (truncated) {
    head += element("NextContinuationToken", "after+/=:" + last);
  }
  return success(document("ListBucketResult", head + content));
}

server_answer scripted_s3_server::impl::create_upload(const recorded_request& request) {
  const std::string id = "upload+" + std::to_string(++uploads_made) + "/=~id";
  upload_state& made = uploads[id];
  made.bucket = request.bucket;
  made.key = request.key;
  made.checksum_algorithm = request.header("x-amz-checksum-algorithm");
  made.headers = kept_headers(request);
  return success(document(
      "InitiateMultipartUploadResult",
      element("Bucket", request.bucket) + element("Key", request.key) + element("UploadId", id)));
}

server_answer scripted_s3_server::impl::upload_part(const recorded_request& request,
                                                    std::string body) {
  upload_state* upload = find_upload(request);
  if (upload == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  const unsigned part = number(value_of(request.query, "partNumber"), 0);
  if (part < 1 || part > 10'000) {
    return failure(400, "InvalidArgument");
  }
  const std::string crc32 = request.header("x-amz-checksum-crc32");
  if (upload->checksum_algorithm.empty() != crc32.empty()) {
    const std::string expected = crc32.empty() ? "crc32" : "null";
    const std::string actual = crc32.empty() ? "null" : "crc32";
    return failure(400, "InvalidRequest", {},
                   "Checksum Type mismatch occurred, expected checksum Type: " + expected +
                       ", actual checksum Type: " + actual);
  }
  part_state& made = upload->parts[part];
  made.etag = hex_digest("MD5", body);
  made.crc32 = crc32;
  made.body = std::move(body);
  server_answer answer;
  answer.set("ETag", in_quotes(made.etag));
  if (!crc32.empty()) {
    answer.set("x-amz-checksum-crc32", crc32);
  }
  return answer;
}

server_answer scripted_s3_server::impl::complete_upload(const recorded_request& request,
                                                        const std::string& body) {
  upload_state* upload = find_upload(request);
  if (upload == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  if (auto refusal = unmet_condition(request, true)) {
    return *refusal;
  }
  pugi::xml_document xml;
  const pugi::xml_parse_result parsed = xml.load_string(body.c_str());
  const pugi::xml_node root = xml.child("CompleteMultipartUpload");
  if (!parsed || !root || !root.child("Part")) {
    return failure(400, "MalformedXML");
  }
  object_state made;
  std::string part_digests;
  unsigned previous = 0;
  unsigned count = 0;
  for (const pugi::xml_node node : root.children("Part")) {
    const unsigned part = node.child("PartNumber").text().as_uint();
    if (part <= previous) {
      return failure(400, "InvalidPartOrder");
    }
    previous = part;
    ++count;
    const auto found = upload->parts.find(part);
    if (found == upload->parts.end() || unquoted(node.child_value("ETag")) != found->second.etag) {
      return failure(400, "InvalidPart");
    }
    const std::string crc32 = node.child_value("ChecksumCRC32");
    if (!upload->checksum_algorithm.empty() && crc32.empty()) {
      return failure(400, "InvalidRequest", {},
                     "The upload was created using a crc32 checksum. The complete request must "
                     "include the checksum for each part.");
    }
    if (crc32 != found->second.crc32) {
      return failure(400, "InvalidPart");
    }
    const bool last = !node.next_sibling("Part");
    if (options.enforce_part_minimum && !last && found->second.body.size() < part_bytes_min) {
      return failure(400, "EntityTooSmall");
    }
    made.body += found->second.body;
    part_digests += digest("MD5", found->second.body);
  }
  made.etag = hex_digest("MD5", part_digests) + '-' + std::to_string(count);
  made.headers = upload->headers;
  const std::string tag = options.empty_etag_from_complete ? "" : in_quotes(made.etag);
  buckets[request.bucket][request.key] = std::move(made);
  uploads.erase(value_of(request.query, "uploadId"));
  return success(document("CompleteMultipartUploadResult",
                          element("Location", "http://127.0.0.1/" + request.key) +
                              element("Bucket", request.bucket) + element("Key", request.key) +
                              element("ETag", tag)));
}

server_answer scripted_s3_server::impl::list_parts(const recorded_request& request) {
  const upload_state* upload = find_upload(request);
  if (upload == nullptr) {
    return failure(404, "NoSuchUpload");
  }
  const unsigned after = number(value_of(request.query, "part-number-marker"), 0);
  const std::size_t page = std::min<std::size_t>(number(value_of(request.query, "max-parts"), 1000),
                                                 options.list_page_max);
  std::string content;
  unsigned last = after;
  std::size_t count = 0;
  bool truncated = false;
  for (auto at = upload->parts.upper_bound(after); at != upload->parts.end(); ++at) {
    if (count++ == page) {
      truncated = true;
      break;
    }
    last = at->first;
    content += "<Part>" + element("PartNumber", std::to_string(at->first)) +
               element("LastModified", "2026-01-02T03:04:05.000Z") +
               element("ETag", in_quotes(at->second.etag)) +
               element("Size", std::to_string(at->second.body.size())) + "</Part>";
  }
  std::string head = element("Bucket", request.bucket) + element("Key", request.key) +
                     element("UploadId", value_of(request.query, "uploadId")) +
                     element("PartNumberMarker", std::to_string(after)) +
                     element("NextPartNumberMarker", std::to_string(last)) +
                     element("MaxParts", std::to_string(page)) +
                     element("IsTruncated", truncated ? "true" : "false");
  return success(document("ListPartsResult", head + content));
}

server_answer scripted_s3_server::impl::list_uploads(const recorded_request& request) {
  const std::string prefix = value_of(request.query, "prefix");
  const bool url = value_of(request.query, "encoding-type") == "url";
  const std::pair<std::string, std::string> after{value_of(request.query, "key-marker"),
                                                  value_of(request.query, "upload-id-marker")};
  const std::size_t page = std::min<std::size_t>(
      number(value_of(request.query, "max-uploads"), 1000), options.list_page_max);
  const auto name = [url](const std::string& key) { return url ? encoded(key) : key; };
  std::map<std::pair<std::string, std::string>, const upload_state*> sorted;
  for (const auto& [id, upload] : uploads) {
    const bool named =
        options.list_uploads_by_key ? upload.key == prefix : upload.key.starts_with(prefix);
    if (upload.bucket == request.bucket && named) {
      sorted.emplace(std::pair(upload.key, id), &upload);
    }
  }
  std::string content;
  std::pair<std::string, std::string> last;
  std::size_t count = 0;
  bool truncated = false;
  for (auto at = sorted.upper_bound(after); at != sorted.end(); ++at) {
    if (count++ == page) {
      truncated = true;
      break;
    }
    last = at->first;
    content += "<Upload>" + element("Key", name(at->first.first)) +
               element("UploadId", at->first.second) +
               element("Initiated", "2026-01-02T03:04:05.000Z") + "</Upload>";
  }
  std::string head = element("Bucket", request.bucket) + element("Prefix", name(prefix)) +
                     element("IsTruncated", truncated ? "true" : "false");
  if (truncated) {
    head += element("NextKeyMarker", name(last.first)) + element("NextUploadIdMarker", last.second);
  }
  return success(document("ListMultipartUploadsResult", head + content));
}

std::string scripted_s3_server::url() const {
  return "http://127.0.0.1:" + std::to_string(_impl->http_port);
}
std::string scripted_s3_server::https_url() const {
  require(_impl->options.tls, "no TLS listener");
  return "https://127.0.0.1:" + std::to_string(_impl->https_port);
}
std::string scripted_s3_server::ca_path() const {
  return _impl->ca_file;
}
int scripted_s3_server::port() const {
  return _impl->http_port;
}

void scripted_s3_server::script(request_match match, scripted_action action) {
  const std::lock_guard lock(_impl->mutex);
  _impl->rules.push_back(impl::rule{std::move(match), std::move(action)});
}

void scripted_s3_server::clear_script() {
  const std::lock_guard lock(_impl->mutex);
  _impl->rules.clear();
}

void scripted_s3_server::release_stalls() {
  const std::lock_guard lock(_impl->mutex);
  ++_impl->stall_releases;
  _impl->changed.notify_all();
}

bool scripted_s3_server::wait_for_stalls(std::size_t count) {
  std::unique_lock lock(_impl->mutex);
  return _impl->changed.wait_for(lock, std::chrono::seconds(10),
                                 [&] { return _impl->stalls_begun >= count; });
}

bool scripted_s3_server::settle() {
  release_stalls();
  // Connections are accepted in order: when this one has been, all before it have.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  require(fd >= 0, "socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(_impl->http_port));
  socklen_t length = sizeof address;
  require(::connect(fd, reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
  require(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
  ::close(fd);
  const int own_port = ntohs(address.sin_port);
  std::unique_lock lock(_impl->mutex);
  return _impl->changed.wait_for(lock, std::chrono::seconds(10), [&] {
    bool accepted = false;
    bool all_ended = true;
    for (const impl::connection& one : _impl->connections) {
      accepted = accepted || one.peer_port == own_port;
      all_ended = all_ended && one.ended;
    }
    return accepted && all_ended;
  });
}

void scripted_s3_server::refuse_access_key(const std::string& id, const std::string& code,
                                           int status) {
  const std::lock_guard lock(_impl->mutex);
  _impl->refused_keys[id] = {code, status};
}

void scripted_s3_server::set_clock(std::chrono::seconds ahead) {
  _impl->seconds_ahead = ahead.count();
  _impl->judges_time = true;
}

void scripted_s3_server::add_bucket(const std::string& name) {
  const std::lock_guard lock(_impl->mutex);
  _impl->buckets[name];
}

void scripted_s3_server::put(const std::string& bucket, const std::string& key, std::string body,
                             std::map<std::string, std::string> headers) {
  object_state made;
  made.etag = hex_digest("MD5", body);
  made.body = std::move(body);
  made.headers = std::move(headers);
  const std::lock_guard lock(_impl->mutex);
  _impl->buckets[bucket][key] = std::move(made);
}

std::optional<scripted_s3_server::object_state> scripted_s3_server::object(
    const std::string& bucket, const std::string& key) const {
  const std::lock_guard lock(_impl->mutex);
  const object_state* found = _impl->find(bucket, key);
  return found != nullptr ? std::optional(*found) : std::nullopt;
}

std::size_t scripted_s3_server::object_count() const {
  const std::lock_guard lock(_impl->mutex);
  std::size_t count = 0;
  for (const auto& [name, objects] : _impl->buckets) {
    count += objects.size();
  }
  return count;
}

std::map<std::string, std::string> scripted_s3_server::bodies(const std::string& bucket) const {
  const std::lock_guard lock(_impl->mutex);
  std::map<std::string, std::string> all;
  const auto found = _impl->buckets.find(bucket);
  if (found != _impl->buckets.end()) {
    for (const auto& [key, object] : found->second) {
      all[key] = object.body;
    }
  }
  return all;
}

std::vector<scripted_s3_server::upload_state> scripted_s3_server::open_uploads() const {
  const std::lock_guard lock(_impl->mutex);
  std::vector<upload_state> open;
  for (const auto& [id, upload] : _impl->uploads) {
    open.push_back(upload);
  }
  return open;
}

void scripted_s3_server::set_time(std::chrono::system_clock::time_point now) {
  _impl->held_seconds =
      std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch()).count();
}

void scripted_s3_server::finish_restores() {
  const std::lock_guard lock(_impl->mutex);
  const time_point now = _impl->now();
  for (auto& [bucket, objects] : _impl->buckets) {
    for (auto& [key, object] : objects) {
      if (object.restore) {
        object.restore->ready = std::min(object.restore->ready, now);
      }
    }
  }
}

std::vector<recorded_request> scripted_s3_server::requests() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->log;
}

std::size_t scripted_s3_server::count(s3_verb verb) const {
  const std::lock_guard lock(_impl->mutex);
  return static_cast<std::size_t>(
      std::count_if(_impl->log.begin(), _impl->log.end(), [verb](const recorded_request& entry) {
        return verb == s3_verb::any || entry.verb == verb;
      }));
}

std::size_t scripted_s3_server::connections() const {
  const std::lock_guard lock(_impl->mutex);
  return _impl->connections.size();
}

void scripted_s3_server::forget_requests() {
  const std::lock_guard lock(_impl->mutex);
  _impl->log_forgotten += _impl->log.size();
  _impl->log.clear();
}

}  // namespace bts3::testing
