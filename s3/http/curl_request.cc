#include "s3/http/curl_request.hh"

#include "engine/assert.hh"
#include "engine/secret_string.hh"
#include "s3/http/ascii_text.hh"
#include "s3/http/curl_calls.hh"
#include "s3/http/curl_outcome.hh"

#include <cstddef>
#include <string>
#include <string_view>

namespace bts3::s3 {

using engine::error;
using engine::result;

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

// An address has a key of 1 KiB and a continuation token of 8 KiB at most, percent-encoded; a
// header what credentials may have (64 KiB of a document). libcurl takes 8 MB and refuses what is
// longer.
constexpr std::size_t url_bytes_max = 64 * 1024;
constexpr std::size_t request_header_bytes_max = 256 * 1024;

// The options that are the same for every exchange.
void set_conduct(CURL* easy, const curl_options& options) {
  set_option(easy, CURLOPT_NOSIGNAL, 1L);
  set_option(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set_option(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  set_option(easy, CURLOPT_FOLLOWLOCATION, 0L);
  set_option(easy, CURLOPT_PATH_AS_IS, 1L);
  set_option(easy, CURLOPT_USERAGENT, options.user_agent.c_str());
  set_option(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set_option(easy, CURLOPT_SSL_VERIFYPEER, 1L);
  set_option(easy, CURLOPT_SSL_VERIFYHOST, 2L);
  if (!options.ca_bundle.empty()) {
    set_option(easy, CURLOPT_CAINFO, options.ca_bundle.c_str());
  }
  set_option(easy, CURLOPT_TCP_NODELAY, 1L);
  set_option(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  set_option(easy, CURLOPT_MAXAGE_CONN, connection_idle_s_max);
  set_option(easy, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
  set_option(easy, CURLOPT_EXPECT_100_TIMEOUT_MS, expect_continue_timeout_ms);
  set_option(easy, CURLOPT_UPLOAD_BUFFERSIZE, transfer_buffer_bytes);
  set_option(easy, CURLOPT_BUFFERSIZE, transfer_buffer_bytes);
  // A stop during name resolution must not wait for getaddrinfo: its thread ends by itself.
  set_option(easy, CURLOPT_QUICK_EXIT, 1L);
}

// What libcurl does with its own rules and the environment is settled before: NOPROXY is all or
// nothing.
void set_proxy(CURL* easy, const proxy_server* through, const std::string& ca_bundle) {
  set_option(easy, CURLOPT_PROXY, through != nullptr ? through->url.c_str() : "");
  set_option(easy, CURLOPT_NOPROXY, through != nullptr ? "" : "*");
  if (through == nullptr) {
    return;
  }
  set_option(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  set_option(easy, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
  if (!through->user.empty() || !through->password.empty()) {
    set_option(easy, CURLOPT_PROXYUSERNAME, through->user.c_str());
    set_option(easy, CURLOPT_PROXYPASSWORD, through->password.c_str());
  }
  if (!ca_bundle.empty()) {
    set_option(easy, CURLOPT_PROXY_CAINFO, ca_bundle.c_str());
  }
}

// libcurl would trust its own file and directory of certificates besides.
void set_own_authorities(CURL* easy, const curl_options& options, bool through_proxy) {
  const std::string& file = options.ca_bundle;
  const std::string& directory = options.ca_directory;
  set_option(easy, CURLOPT_CAINFO, file.empty() ? nullptr : file.c_str());
  set_option(easy, CURLOPT_CAPATH, directory.empty() ? nullptr : directory.c_str());
  if (through_proxy) {
    set_option(easy, CURLOPT_PROXY_CAINFO, file.empty() ? nullptr : file.c_str());
    set_option(easy, CURLOPT_PROXY_CAPATH, directory.empty() ? nullptr : directory.c_str());
  }
}

// How `work` is asked, by its method, with its body.
void set_method(CURL* easy, curl_exchange& work) {
  const http_request& request = work.request;
  // libcurl repeats a request by itself when a pooled connection turns out to be dead. A POST
  // (CreateMultipartUpload) must not be carried out twice unnoticed, so it gets a new connection.
  const bool fresh = request.fresh_connection || request.method == "POST";
  set_option(easy, CURLOPT_FRESH_CONNECT, fresh ? 1L : 0L);
  if (request.method == "HEAD") {
    set_option(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT" || request.method == "POST") {
    // An upload under whichever name: with CURLOPT_POST libcurl would add a Content-Type.
    set_option(easy, CURLOPT_UPLOAD, 1L);
    set_option(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    set_option(easy, CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set_option(easy, CURLOPT_READFUNCTION, &curl_exchange::on_read);
    set_option(easy, CURLOPT_READDATA, &work);
    set_option(easy, CURLOPT_SEEKFUNCTION, &curl_exchange::on_seek);
    set_option(easy, CURLOPT_SEEKDATA, &work);
  } else {
    BTS3_ASSERT(request.body.empty());
    set_option(easy, CURLOPT_HTTPGET, 1L);
    if (request.method != "GET") {
      set_option(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
    }
  }
}

}  // namespace

result<void> check_request(const http_request& request) {
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

bool add_header_lines(const http_request& request, curl_slist*& lines) {
  bool complete = true;
  const auto add = [&](std::string line) {
    const engine::wiped afterwards(line);
    curl_slist* longer = complete ? curl_slist_append(lines, line.c_str()) : nullptr;
    complete = longer != nullptr;
    lines = complete ? longer : lines;
  };
  bool expect_decided = false;
  for (const auto& [name, value] : request.headers) {  // checked
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

void set_up(curl_exchange& work, const curl_options& options, bool own_authorities, CURLSH* share) {
  CURL* easy = work.easy;
  set_conduct(easy, options);
  set_proxy(easy, work.through, options.ca_bundle);
  if (own_authorities) {
    set_own_authorities(easy, options, work.through != nullptr);
  }
  set_option(easy, CURLOPT_SHARE, share);
  set_option(easy, CURLOPT_PRIVATE, &work);
  set_option(easy, CURLOPT_ERRORBUFFER, work.curl_text.data());
  set_option(easy, CURLOPT_URL, work.request.url.c_str());
  set_option(easy, CURLOPT_HTTPHEADER, work.headers);
  set_option(easy, CURLOPT_HEADERFUNCTION, &curl_exchange::on_header);
  set_option(easy, CURLOPT_HEADERDATA, &work);
  set_option(easy, CURLOPT_WRITEFUNCTION, &curl_exchange::on_body);
  set_option(easy, CURLOPT_WRITEDATA, &work);
  set_method(easy, work);
}

}  // namespace bts3::s3
