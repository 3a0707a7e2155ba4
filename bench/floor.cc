// The floor that the program is measured against: two bare threads around a ring of blocks, no HTTP
// client, no retries, no parts, no checks but SHA-256.
//
//   bench_floor upload URL BYTES [CA_FILE] < pipe     read and hash | one PUT over the socket
//   bench_floor restore [--ca CA_FILE] URL... > pipe  one GET after the other | hash and write
//
// --sealed before either: with one bare pass of ChaCha20-Poly1305 over the same bytes, in segments
// of 64 KiB, before they are hashed, or after. What is sealed or opened is nobody's age file: the
// tags go nowhere, so that as many bytes pass as without.
//
// Prints the SHA-256 of what passed to stderr, so that a run that lost bytes does not count.
// Whoever measures counts this process's CPU time: what feeds and drains the pipes is another one.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

// 64 MiB in flight, in blocks that amortise a lock and two thread switches to nothing.
constexpr std::size_t block_bytes = 1 << 20;
constexpr std::size_t blocks = 64;
// F_SETPIPE_SZ's limit for everyone, as in the program.
constexpr int pipe_bytes = 1 << 20;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "bench_floor: %s\n", what.c_str());
  std::exit(1);
}

[[noreturn]] void fail_errno(const std::string& what) {
  fail(what + ": " + std::strerror(errno));
}

struct address {
  bool tls = false;
  std::uint16_t port = 0;
  std::string path;
};

// http://127.0.0.1:PORT/PATH or https://...; the server is always this machine.
address parse_url(std::string_view url) {
  address found;
  std::string_view rest = url;
  const auto take = [&rest](std::string_view prefix) {
    const bool there = rest.starts_with(prefix);
    rest.remove_prefix(there ? prefix.size() : 0);
    return there;
  };
  found.tls = take("https://");
  if ((!found.tls && !take("http://")) || !take("127.0.0.1:")) {
    fail("not http[s]://127.0.0.1:PORT/PATH: " + std::string(url));
  }
  const auto end = std::from_chars(rest.data(), rest.data() + rest.size(), found.port);
  found.path = std::string(end.ptr, rest.data() + rest.size());
  if (end.ec != std::errc() || !found.path.starts_with('/')) {
    fail("no port or path: " + std::string(url));
  }
  return found;
}

// A blocking connection, with or without TLS.
class connection {
 public:
  connection(const address& where, const std::string& ca_file) {
    _fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(where.port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (_fd < 0 || ::connect(_fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      fail_errno("connect");
    }
    const int on = 1;
    if (::setsockopt(_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) {
      fail_errno("TCP_NODELAY");
    }
    if (where.tls) {
      start_tls(ca_file);
    }
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection() {
    SSL_free(_tls);
    SSL_CTX_free(_context);
    ::close(_fd);
  }

  void write_all(const char* from, std::size_t bytes) {
    while (bytes > 0) {
      const auto most = static_cast<int>(std::min<std::size_t>(bytes, 1U << 30));
      const ssize_t sent =
          _tls != nullptr ? SSL_write(_tls, from, most) : ::write(_fd, from, bytes);
      if (sent <= 0) {
        fail_errno("the server closed the connection");
      }
      from += sent;
      bytes -= static_cast<std::size_t>(sent);
    }
  }

  // 0 at the end.
  std::size_t read_some(char* into, std::size_t bytes) {
    const ssize_t got =
        _tls != nullptr ? SSL_read(_tls, into, static_cast<int>(bytes)) : ::read(_fd, into, bytes);
    if (got < 0) {
      fail_errno("read from the server");
    }
    return static_cast<std::size_t>(got);
  }

 private:
  void start_tls(const std::string& ca_file) {
    _context = SSL_CTX_new(TLS_client_method());
    _tls = _context != nullptr ? SSL_new(_context) : nullptr;
    if (_tls == nullptr || SSL_CTX_load_verify_file(_context, ca_file.c_str()) != 1) {
      fail("TLS: cannot read " + ca_file);
    }
    SSL_set_verify(_tls, SSL_VERIFY_PEER, nullptr);
    if (SSL_set_fd(_tls, _fd) != 1 || SSL_connect(_tls) != 1) {
      fail("TLS: handshake");
    }
  }

  int _fd = -1;
  SSL_CTX* _context = nullptr;
  SSL* _tls = nullptr;
};

// Blocks that one thread fills and the other empties, in order.
class ring {
 public:
  struct block {
    char* data = nullptr;
    std::size_t length = 0;
  };

  ring() : _memory(static_cast<char*>(std::aligned_alloc(4096, block_bytes * blocks))) {
    if (!_memory) {
      fail("out of memory");
    }
    for (std::size_t i = 0; i < blocks; ++i) {
      _blocks[i].data = _memory.get() + i * block_bytes;
    }
  }

  // Waits for an empty block; filled(0) marks the end.
  block& empty() {
    std::unique_lock lock(_mutex);
    _changed.wait(lock, [this] { return _filled - _emptied < blocks; });
    return _blocks[_filled % blocks];
  }
  void filled(std::size_t length) {
    const std::lock_guard lock(_mutex);
    _blocks[_filled++ % blocks].length = length;
    _changed.notify_one();
  }
  // Waits for a full one; its length is 0 at the end.
  block& full() {
    std::unique_lock lock(_mutex);
    _changed.wait(lock, [this] { return _filled > _emptied; });
    return _blocks[_emptied % blocks];
  }
  void emptied() {
    const std::lock_guard lock(_mutex);
    ++_emptied;
    _changed.notify_one();
  }

 private:
  struct release {
    void operator()(char* memory) const { std::free(memory); }
  };
  std::unique_ptr<char, release> _memory;
  std::array<block, blocks> _blocks;
  std::mutex _mutex;
  std::condition_variable _changed;
  std::uint64_t _filled = 0;
  std::uint64_t _emptied = 0;
};

// One pass of the cipher, where the bytes lie. In pieces of any size: a segment ends where it is
// full, and its tag is made and thrown away.
class cipher {
 public:
  explicit cipher(bool seals) : _seals(seals) {
    if (_context == nullptr || EVP_CipherInit_ex(_context, EVP_chacha20_poly1305(), nullptr,
                                                 _key.data(), nullptr, seals ? 1 : 0) != 1) {
      fail("no ChaCha20-Poly1305");
    }
    begin();
  }
  cipher(const cipher&) = delete;
  cipher& operator=(const cipher&) = delete;
  ~cipher() { EVP_CIPHER_CTX_free(_context); }

  void pass(char* data, std::size_t bytes) {
    while (bytes > 0) {
      const std::size_t here = std::min(bytes, segment_bytes - _in_segment);
      auto* const at = reinterpret_cast<unsigned char*>(data);
      int written = 0;
      if (EVP_CipherUpdate(_context, at, &written, at, static_cast<int>(here)) != 1) {
        fail("the cipher refused");
      }
      data += here;
      bytes -= here;
      _in_segment += here;
      if (_in_segment == segment_bytes) {
        end();
        begin();
      }
    }
  }

 private:
  static constexpr std::size_t segment_bytes = 65536;  // as age's

  void begin() {
    _in_segment = 0;
    for (std::size_t at = 0; at < sizeof _segment; ++at) {
      _nonce[3 + at] = static_cast<unsigned char>(_segment >> (8 * at));
    }
    ++_segment;
    if (EVP_CipherInit_ex(_context, nullptr, nullptr, nullptr, _nonce.data(), -1) != 1) {
      fail("no nonce");
    }
  }
  void end() {
    std::array<unsigned char, 16> tag{};
    int written = 0;
    if (!_seals) {
      // There is none to compare with: any other one is refused, at the same cost.
      EVP_CIPHER_CTX_ctrl(_context, EVP_CTRL_AEAD_SET_TAG, tag.size(), tag.data());
      EVP_CipherFinal_ex(_context, tag.data(), &written);
    } else if (EVP_CipherFinal_ex(_context, tag.data(), &written) != 1 ||
               EVP_CIPHER_CTX_ctrl(_context, EVP_CTRL_AEAD_GET_TAG, tag.size(), tag.data()) != 1) {
      fail("no tag");
    }
  }

  bool _seals;
  EVP_CIPHER_CTX* _context = EVP_CIPHER_CTX_new();
  std::array<unsigned char, 32> _key{};
  std::array<unsigned char, 12> _nonce{};
  std::uint64_t _segment = 0;
  std::size_t _in_segment = 0;
};

class digest {
 public:
  digest() { EVP_DigestInit_ex(_context, EVP_sha256(), nullptr); }
  digest(const digest&) = delete;
  digest& operator=(const digest&) = delete;
  ~digest() { EVP_MD_CTX_free(_context); }
  void update(const char* data, std::size_t bytes) { EVP_DigestUpdate(_context, data, bytes); }
  void print() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> value{};
    unsigned length = 0;
    EVP_DigestFinal_ex(_context, value.data(), &length);
    for (unsigned i = 0; i < length; ++i) {
      std::fprintf(stderr, "%02x", value[i]);
    }
    std::fprintf(stderr, "\n");
  }

 private:
  EVP_MD_CTX* _context = EVP_MD_CTX_new();
};

struct answer {
  std::uint64_t content_length = 0;
  std::string body_start;  // what arrived together with the header
};

// Reads a response's header; anything but 200 ends the run.
answer read_header(connection& server) {
  std::string text;
  std::array<char, 4096> part;
  std::size_t end = std::string::npos;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    const std::size_t got = server.read_some(part.data(), part.size());
    if (got == 0 || text.size() > 65536) {
      fail("no complete answer: " + text);
    }
    text.append(part.data(), got);
  }
  if (!text.starts_with("HTTP/1.1 200 ")) {
    fail("refused: " + text.substr(0, text.find('\r')));
  }
  answer found;
  found.body_start = text.substr(end + 4);
  const std::string name = "\r\nContent-Length: ";
  if (const std::size_t at = text.find(name); at < end) {
    const char* digits = text.data() + at + name.size();
    std::from_chars(digits, text.data() + end, found.content_length);
  }
  return found;
}

void upload(const address& where, std::uint64_t bytes, const std::string& ca_file, bool sealed) {
  ::fcntl(STDIN_FILENO, F_SETPIPE_SZ, pipe_bytes);  // a smaller one is only slower
  connection server(where, ca_file);
  const std::string request =
      "PUT " + where.path +
      " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + std::to_string(bytes) +
      "\r\nConnection: close\r\n\r\n";
  server.write_all(request.data(), request.size());
  ring between;
  std::thread sender([&] {
    for (;;) {
      const ring::block& next = between.full();
      if (next.length == 0) {
        return;
      }
      server.write_all(next.data, next.length);
      between.emptied();
    }
  });
  digest hash;
  std::unique_ptr<cipher> seal = sealed ? std::make_unique<cipher>(true) : nullptr;
  std::uint64_t total = 0;
  for (bool more = true; more;) {
    ring::block& next = between.empty();
    std::size_t length = 0;
    while (length < block_bytes) {
      const ssize_t got = ::read(STDIN_FILENO, next.data + length, block_bytes - length);
      if (got < 0) {
        fail_errno("read from the pipe");
      }
      if (got == 0) {
        break;
      }
      // At once, while the bytes are in the cache.
      if (seal) {
        seal->pass(next.data + length, static_cast<std::size_t>(got));
      }
      hash.update(next.data + length, static_cast<std::size_t>(got));
      length += static_cast<std::size_t>(got);
    }
    total += length;
    more = length > 0;
    between.filled(length);
  }
  sender.join();
  if (total != bytes) {
    fail("the pipe gave " + std::to_string(total) + " bytes");
  }
  read_header(server);
  hash.print();
}

void write_pipe(const char* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t put = ::write(STDOUT_FILENO, data, bytes);
    if (put < 0) {
      fail_errno("write to the pipe");
    }
    data += put;
    bytes -= static_cast<std::size_t>(put);
  }
}

// Fills blocks with one object's bytes.
void fetch(const address& where, const std::string& ca_file, ring& into) {
  connection server(where, ca_file);
  const std::string request =
      "GET " + where.path + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
  server.write_all(request.data(), request.size());
  answer head = read_header(server);
  std::uint64_t left = head.content_length;
  while (left > 0) {
    ring::block& next = into.empty();
    const std::size_t want = std::min<std::uint64_t>(block_bytes, left);
    std::size_t length = std::min(head.body_start.size(), want);
    std::memcpy(next.data, head.body_start.data(), length);
    head.body_start.erase(0, length);
    while (length < want) {
      const std::size_t got = server.read_some(next.data + length, want - length);
      if (got == 0) {
        fail("the server closed the connection");
      }
      length += got;
    }
    left -= length;
    into.filled(length);
  }
}

void restore(const std::vector<address>& objects, const std::string& ca_file, bool sealed) {
  ::fcntl(STDOUT_FILENO, F_SETPIPE_SZ, pipe_bytes);
  ring between;
  std::thread receiver([&] {
    for (const address& object : objects) {
      fetch(object, ca_file, between);
    }
    between.empty();
    between.filled(0);
  });
  digest hash;
  std::unique_ptr<cipher> open = sealed ? std::make_unique<cipher>(false) : nullptr;
  for (;;) {
    const ring::block& next = between.full();
    if (next.length == 0) {
      break;
    }
    hash.update(next.data, next.length);
    if (open) {
      open->pass(next.data, next.length);
    }
    write_pipe(next.data, next.length);
    between.emptied();
  }
  receiver.join();
  hash.print();
}

}  // namespace

int main(int count, char** values) {
  std::signal(SIGPIPE, SIG_IGN);
  const bool sealed = count > 1 && std::string_view(values[1]) == "--sealed";
  const std::vector<std::string> arguments(values + (sealed ? 2 : 1), values + count);
  if (arguments.size() >= 3 && arguments[0] == "upload") {
    const std::uint64_t bytes = std::strtoull(arguments[2].c_str(), nullptr, 10);
    upload(parse_url(arguments[1]), bytes, arguments.size() > 3 ? arguments[3] : "", sealed);
    return 0;
  }
  if (arguments.size() >= 2 && arguments[0] == "restore") {
    const bool tls = arguments[1] == "--ca" && arguments.size() >= 3;
    std::vector<address> objects;
    for (std::size_t i = tls ? 3 : 1; i < arguments.size(); ++i) {
      objects.push_back(parse_url(arguments[i]));
    }
    restore(objects, tls ? arguments[2] : "", sealed);
    return 0;
  }
  fail("usage: bench_floor [--sealed] upload URL BYTES [CA_FILE] | restore [--ca CA_FILE] URL...");
}
