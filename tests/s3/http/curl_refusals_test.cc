// What libcurl does not give, and what it would trust by itself: errors, and no more trust than the
// configuration's.
//
// Three functions of libcurl are this binary's own: memory that is short just there, and a libcurl
// that was built to trust another directory, cannot be had otherwise. With link-time optimization,
// too, an executable's definitions come before those of libraries.
#include "s3/http/curl_transport.hh"

#include "tests/s3/http/wire_support.hh"

#include <curl/curl.h>
#include <dlfcn.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

using namespace bts3;
using namespace bts3::testing;
using engine::disposition;
using engine::reason;
using s3::http_request;

namespace {

enum class call { none, append, init, add };

// The call of that kind that fails, counted from now on, from 1.
call failing_call = call::none;
int failing_number = 0;
// What libcurl trusts by itself, as where it was built for this directory.
std::string trusted_directory;

bool fails(call which) {
  return failing_call == which && --failing_number == 0;
}

template <typename Function>
Function* real(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

class failing {
 public:
  failing(call which, int number) {
    failing_number = number;
    failing_call = which;
  }
  ~failing() { failing_call = call::none; }
  failing(const failing&) = delete;
  failing& operator=(const failing&) = delete;
};

// A body that is read piece by piece.
class plain_source final : public engine::body_source {
 public:
  plain_source(engine::reactor& loop, std::string content)
      : _loop(loop), _content(std::move(content)) {}
  [[nodiscard]] std::uint64_t size() const override { return _content.size(); }
  [[nodiscard]] unsigned buffers() const override { return 2; }
  engine::task<engine::result<std::span<const std::byte>>> fetch(unsigned, std::uint64_t offset,
                                                                 engine::stop_token stop) override {
    auto yielding = _loop.yield();
    co_await std::move(yielding);
    if (stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    co_return bytes_of(_content).subspan(offset, std::min<std::size_t>(65536, size() - offset));
  }

 private:
  engine::reactor& _loop;
  std::string _content;
};

// A directory of authorities as OpenSSL looks them up, with one in it.
class authorities {
 public:
  explicit authorities(const std::string& pem) {
    std::string pattern = (std::filesystem::temp_directory_path() / "bts3-ca-XXXXXX").string();
    BOOST_REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    _path = pattern;
    std::FILE* const file = std::fopen(pem.c_str(), "r");
    BOOST_REQUIRE(file != nullptr);
    X509* const certificate = ::PEM_read_X509(file, nullptr, nullptr, nullptr);
    std::fclose(file);
    BOOST_REQUIRE(certificate != nullptr);
    char name[32];
    std::snprintf(name, sizeof name, "%08lx.0", ::X509_subject_name_hash(certificate));
    ::X509_free(certificate);
    std::filesystem::copy_file(pem, std::filesystem::path(_path) / name);
    trusted_directory = _path;
  }
  [[nodiscard]] const std::string& path() const { return _path; }
  ~authorities() {
    trusted_directory.clear();
    std::filesystem::remove_all(_path);
  }
  authorities(const authorities&) = delete;
  authorities& operator=(const authorities&) = delete;

 private:
  std::string _path;
};

}  // namespace

// An executable's own definitions come before those of libraries.
extern "C" {

curl_slist* curl_slist_append(curl_slist* list, const char* text) {
  static auto* const append = real<curl_slist*(curl_slist*, const char*)>("curl_slist_append");
  return fails(call::append) ? nullptr : append(list, text);
}

CURL* curl_easy_init() {
  static auto* const init = real<CURL*()>("curl_easy_init");
  CURL* const made = fails(call::init) ? nullptr : init();
  if (made != nullptr && !trusted_directory.empty()) {
    curl_easy_setopt(made, CURLOPT_CAPATH, trusted_directory.c_str());
  }
  return made;
}

CURLMcode curl_multi_add_handle(CURLM* multi, CURL* easy) {
  static auto* const add = real<CURLMcode(CURLM*, CURL*)>("curl_multi_add_handle");
  return fails(call::add) ? CURLM_OUT_OF_MEMORY : add(multi, easy);
}

}  // extern "C"

BOOST_AUTO_TEST_SUITE(curl_refusals)

BOOST_AUTO_TEST_CASE(what_libcurl_has_no_memory_for_is_an_error_and_can_be_tried_again) {
  wire net;
  for (const call which : {call::append, call::init, call::add}) {
    for (const int number : {1, 2}) {
      if (number == 2 && which != call::append) {
        continue;
      }
      // The first exchange of a transport makes its handle.
      s3::curl_options options;
      auto transport = s3::curl_transport::create(*net.loop, options);
      BOOST_REQUIRE(transport.has_value());
      {
        const failing refused(which, number);
        http_request request = net.request("GET", "key");
        const auto answer = net.loop->run((*transport)->perform(std::move(request), {}));
        BOOST_REQUIRE(!answer.has_value());
        BOOST_TEST((answer.error().what_now == disposition::retry));
        BOOST_TEST((answer.error().why == reason::system));
        BOOST_TEST(answer.error().message.find("127.0.0.1:") != std::string::npos,
                   answer.error().text());
        BOOST_TEST(!answer.error().remedy.empty());
      }
      http_request again = net.request("GET", "key");
      const auto answer = net.loop->run((*transport)->perform(std::move(again), {}));
      BOOST_REQUIRE_MESSAGE(answer.has_value(), error_text(answer));
      BOOST_TEST(answer->status == 404);
      net.loop->run((*transport)->close());
    }
  }
}

// With a source, whose reading has begun before libcurl is asked.
BOOST_AUTO_TEST_CASE(a_body_from_a_source_is_let_go_of_when_libcurl_refuses) {
  wire net;
  const std::string body(300'000, 'x');
  plain_source source(*net.loop, body);
  http_request request = net.request("PUT", "key");
  request.body = s3::request_body(source);
  const failing refused(call::add, 1);
  const auto answer = net.perform(std::move(request));
  BOOST_REQUIRE(!answer.has_value());
  BOOST_TEST((answer.error().why == reason::system));
  BOOST_TEST(net.server.requests().empty());
}

BOOST_AUTO_TEST_CASE(a_named_authority_is_the_only_one) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server named(with_tls);
  scripted_s3_server other(with_tls);
  const authorities directory(other.ca_path());
  const auto ask = [](const scripted_s3_server& whom, s3::curl_options options) {
    wire net({}, std::move(options));
    http_request request("GET", whom.https_url() + "/bucket/key");
    request.headers.emplace_back("Authorization", "test");
    return net.perform(std::move(request));
  };
  // The directory is what libcurl takes by itself.
  s3::curl_options system;
  system.system_ca_bundles = {"/nonexistent/none.pem"};
  const auto trusted = ask(other, system);
  BOOST_REQUIRE_MESSAGE(trusted.has_value(), error_text(trusted));
  // With s3.ca_bundle it counts no more, and the bundle does.
  s3::curl_options narrowed;
  narrowed.ca_bundle = named.ca_path();
  const auto refused = ask(other, narrowed);
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message.find("certificate") != std::string::npos,
             refused.error().text());
  BOOST_TEST(other.requests().size() == 1U);
  const auto accepted = ask(named, narrowed);
  BOOST_REQUIRE_MESSAGE(accepted.has_value(), error_text(accepted));
}

// SSL_CERT_DIR: alone, and beside a file.
BOOST_AUTO_TEST_CASE(a_named_directory_of_authorities_is_trusted_and_nothing_else) {
  scripted_s3_options with_tls;
  with_tls.tls = true;
  scripted_s3_server named(with_tls);
  scripted_s3_server other(with_tls);
  const authorities directory(named.ca_path());
  const std::string path = directory.path();
  trusted_directory.clear();  // libcurl has none of its own
  const auto ask = [](const scripted_s3_server& whom, s3::curl_options options) {
    wire net({}, std::move(options));
    http_request request("GET", whom.https_url() + "/bucket/key");
    request.headers.emplace_back("Authorization", "test");
    return net.perform(std::move(request));
  };
  s3::curl_options options;
  options.system_ca_bundles = {other.ca_path()};  // which is narrowed
  options.ca_directory = path;
  const auto accepted = ask(named, options);
  BOOST_REQUIRE_MESSAGE(accepted.has_value(), error_text(accepted));
  const auto refused = ask(other, options);
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST(refused.error().message.find("certificate") != std::string::npos,
             refused.error().text());
  options.ca_bundle = other.ca_path();
  for (const scripted_s3_server* whom : {&named, &other}) {
    const auto both = ask(*whom, options);
    BOOST_TEST(both.has_value(), error_text(both));
  }
}

BOOST_AUTO_TEST_SUITE_END()
