// An S3 server for tests: real sockets on 127.0.0.1, state in memory, AWS's rules, and a script
// that makes it misbehave at a chosen request.
//
// Threads and blocking sockets, one thread a connection. It keeps buckets, objects and multipart
// uploads, records every request, and applies to each the first scripted rule that matches it;
// what no rule claims is performed as AWS would: part sizes, ascending parts and their ETags at
// Complete, declared CRC32 checksums, payload hashes, conditions, ranges, Expect: 100-continue.
// Archives (GLACIER, DEEP_ARCHIVE, and objects with x-amz-archive-status) follow the server's
// clock, which a test may hold and move: not readable, asked for, under way, readable, expired.
// Signatures are not verified, but an Authorization header must be there; access keys can be made
// to expire, and the server's clock can be set. Path addressing only.
//
// Every public member may be called from any thread, also while requests are served. stop() (and
// the destructor) ends stalls, closes all connections and joins all threads.
#pragma once

#include "tests/support/scripted_s3/answer.hh"
#include "tests/support/scripted_s3/request.hh"
#include "tests/support/scripted_s3/script.hh"
#include "tests/support/scripted_s3/store_state.hh"

#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace bts3::testing {

class scripted_s3_server {
 public:
  explicit scripted_s3_server(scripted_s3_options options = {});
  ~scripted_s3_server();
  scripted_s3_server(const scripted_s3_server&) = delete;
  scripted_s3_server& operator=(const scripted_s3_server&) = delete;

  [[nodiscard]] std::string url() const;        // "http://127.0.0.1:port"
  [[nodiscard]] std::string https_url() const;  // only with options.tls
  [[nodiscard]] std::string ca_path() const;    // PEM file of the certificate, until stop()
  [[nodiscard]] int port() const;

  void script(request_match match, scripted_action action);
  void clear_script();
  // Lets every stalled connection go on: it is closed.
  void release_stalls();
  // Waits until that many requests have been stalled since the start; false after ten seconds.
  [[nodiscard]] bool wait_for_stalls(std::size_t count);

  // Waits until every connection that clients have opened so far has ended, which they must have
  // closed: nothing is recorded or performed afterwards. Ends stalls. False after ten seconds.
  [[nodiscard]] bool settle();

  // From now on requests signed with that access key are refused with `code`, before their body.
  void refuse_access_key(const std::string& id, const std::string& code = "ExpiredToken",
                         int status = 400);
  // The server's clock, ahead of ours by that much: its Date says so, and requests whose x-amz-date
  // is more than 15 minutes away from it are refused with RequestTimeTooSkewed.
  void set_clock(std::chrono::seconds ahead);

  void add_bucket(const std::string& name);
  void put(const std::string& bucket, const std::string& key, std::string body,
           std::map<std::string, std::string> headers = {});
  [[nodiscard]] std::optional<object_state> object(const std::string& bucket,
                                                   const std::string& key) const;
  [[nodiscard]] std::size_t object_count() const;
  // All of a bucket: bodies by key.
  [[nodiscard]] std::map<std::string, std::string> bodies(const std::string& bucket) const;
  [[nodiscard]] std::vector<upload_state> open_uploads() const;
  // Stops the clock at that time; it is the system's until then. Answers carry it as their Date.
  void set_time(std::chrono::system_clock::time_point now);
  // Retrievals that are under way are done.
  void finish_restores();

  [[nodiscard]] std::vector<recorded_request> requests() const;
  [[nodiscard]] std::size_t count(s3_verb verb) const;
  [[nodiscard]] std::size_t connections() const;
  void forget_requests();

  void stop();

 private:
  struct impl;
  std::unique_ptr<impl> _impl;
};

}  // namespace bts3::testing
