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

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bts3::testing {

enum class s3_verb {
  any,  // in a match: every verb
  put_object,
  get_object,
  head_object,
  delete_object,
  restore_object,
  list_objects,
  head_bucket,
  create_upload,
  upload_part,
  complete_upload,
  abort_upload,
  list_parts,
  list_uploads,
  other,
};

using server_headers = std::vector<std::pair<std::string, std::string>>;

struct recorded_request {
  s3_verb verb = s3_verb::other;
  unsigned connection = 0;  // from 1, in the order of accepting
  bool tls = false;
  std::string method;
  std::string target;                          // as it came: path and query, percent-encoded
  std::string bucket;                          // decoded
  std::string key;                             // decoded
  std::map<std::string, std::string> query;    // decoded
  std::map<std::string, std::string> headers;  // names in lower case
  std::size_t body_bytes = 0;                  // that arrived
  std::string body_sha256;                     // hex, of what arrived
  int status = 0;                              // answered; 0 while or when none was

  [[nodiscard]] bool has_query(const std::string& name) const { return query.contains(name); }
  // Empty when absent.
  [[nodiscard]] std::string header(const std::string& name) const;
};

struct server_answer {
  int status = 200;
  server_headers headers;
  std::string body;
  // Replaces the value of a header, or adds it.
  void set(const std::string& name, std::string value);
  void erase(std::string_view name);
};

// Which requests a rule is for.
struct request_match {
  request_match() = default;
  request_match(s3_verb which) : verb(which) {}
  request_match(s3_verb which, unsigned first, unsigned how_often)
      : verb(which), nth(first), times(how_often) {}

  s3_verb verb = s3_verb::any;
  std::string key_contains;
  std::string query_key;    // must be present, when named
  std::string query_value;  // and have this value, when given
  std::string header;       // likewise, in lower case
  std::string header_contains;
  unsigned nth = 1;    // the first matching request that it is for, from 1
  unsigned times = 1;  // how many in a row; 0: all that follow
};

// What happens to a request instead of, or after, being performed.
class scripted_action {
 public:
  // An answer with an S3 error body; the request's body has been read, nothing was performed.
  static scripted_action answer(int status, std::string code, server_headers headers = {});
  // A page of a web server that stands before the store: HTML, and nothing that a store sends.
  static scripted_action page(int status);
  // The same as answer() before the body is read; the connection is closed afterwards, as S3 does.
  static scripted_action answer_before_body(int status, std::string code,
                                            server_headers headers = {});
  // The connection is reset after that many bytes of the request's body; nothing was performed.
  static scripted_action reset_after(std::size_t body_bytes);
  // Performed, and the connection reset instead of an answer.
  static scripted_action perform_then_reset();
  // Performed, and the answer changed before it goes out.
  static scripted_action perform_then(std::function<void(server_answer&)> change);
  // Reads that many bytes of the request's body and then nothing, until released.
  static scripted_action stall_after(std::size_t body_bytes);
  // Reads everything and never answers, until released.
  static scripted_action stall_before_answer();
  // Performed; sends the head and that many bytes of the answer's body and then nothing.
  static scripted_action stall_in_answer(std::size_t body_bytes);
  // Reads the request's body in pieces with pauses between them, and performs it.
  static scripted_action read_slowly(std::size_t piece_bytes, std::chrono::milliseconds pause);
  // Performed; the answer goes out in pieces with pauses between them.
  static scripted_action answer_slowly(std::size_t piece_bytes, std::chrono::milliseconds pause);
  // Performed; the answer promises its whole length, and the connection is closed (or reset)
  // after that many bytes of its body.
  static scripted_action cut_answer(std::size_t body_bytes, bool reset = false);
  // 200, an XML declaration, and an error document: what S3 does when Complete fails late.
  static scripted_action error_in_200(std::string code);
  // The upload that the request names vanishes first; then it is performed.
  static scripted_action forget_upload();
  // The server goes away for that long: every connection breaks, new ones to the plain port are
  // refused. Nothing was performed.
  static scripted_action go_away(std::chrono::milliseconds time);
  // The object comes into being as if Complete had succeeded, and the answer is NoSuchUpload: what
  // a client sees that lost the first answer.
  static scripted_action perform_then_no_such_upload();

 private:
  friend class scripted_s3_server;
  enum class kind {
    answer,
    answer_before_body,
    reset_after,
    perform_then_reset,
    perform_then,
    stall_after,
    stall_before_answer,
    stall_in_answer,
    read_slowly,
    answer_slowly,
    cut_answer,
    forget_upload,
    go_away,
  };
  explicit scripted_action(kind what) : _kind(what) {}
  kind _kind;
  server_answer _answer;
  std::size_t _bytes = 0;
  std::chrono::milliseconds _pause{0};
  bool _reset = false;
  bool _of_the_store = true;  // with the headers that stores send
  std::function<void(server_answer&)> _change;
};

struct scripted_s3_options {
  scripted_s3_options() = default;
  bool tls = false;  // also listen with TLS, certificate self-signed for 127.0.0.1
  // From now on; for a day and an hour.
  std::chrono::seconds certificate_valid_from{-3600};
  bool enforce_part_minimum = true;  // 5 MiB for every part but the last
  // Refuse every x-amz-checksum-* header, as stores do that do not know them: with this status
  // (501 or 400); 0: honour them.
  int refuse_checksums_status = 0;
  bool demand_digests =
      false;  // as buckets with Object Lock: of every object, as a whole or a part
  bool empty_etag_from_complete = false;  // as Ceph 16 answers the first Complete
  // How long a retrieval takes; without it, AWS's typical longest time for class and tier.
  std::optional<std::chrono::seconds> thaw_takes;
  int refuse_restores_status = 0;      // 405 or 501, as from stores without RestoreObject
  bool archives_in_name_only = false;  // HEAD tells an archive class, and GET reads it
  bool list_uploads_by_key = false;    // their prefix is taken for a key, as by MinIO
  std::size_t list_page_max = 1000;
  std::string region = "us-east-1";
  std::vector<std::string> buckets = {"bucket"};
};

class scripted_s3_server {
 public:
  struct restore_state {
    std::chrono::system_clock::time_point ready;
    std::chrono::system_clock::time_point expires;  // the copy; INTELLIGENT_TIERING: never
  };
  struct object_state {
    std::string body;
    std::string etag;                            // without quotes
    std::map<std::string, std::string> headers;  // storage class, content type, encryption, ...
    std::optional<restore_state> restore;        // under way, done or expired
  };
  struct part_state {
    std::string body;
    std::string etag;
    std::string crc32;  // base64; empty: none declared
  };
  struct upload_state {
    std::string bucket;
    std::string key;
    std::string checksum_algorithm;  // "CRC32" or empty
    std::map<std::string, std::string> headers;
    std::map<unsigned, part_state> parts;
  };

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
