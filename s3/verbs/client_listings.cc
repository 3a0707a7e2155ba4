// The client's verbs that list: page after page, and never without end.
#include "s3/http/one_line.hh"
#include "s3/verbs/s3_client.hh"
#include "s3/verbs/xml.hh"

#include <functional>
#include <unordered_set>
#include <utility>

namespace bts3::s3 {

using engine::error;
using engine::result;
using engine::task;

namespace {

// Open uploads of one prefix; a backup leaves at most a few behind.
constexpr std::size_t uploads_max = 100'000;

// Sees to it that a listing ends: pages are counted, and a place in it is met once.
class page_turner {
 public:
  // Why the page is not to be fetched; empty: it is.
  std::string turn(const std::string& next_place, bool page_was_empty) {
    _empty = page_was_empty ? _empty + 1 : 0;
    if (!_seen.insert(std::hash<std::string>()(next_place)).second) {
      return "the store repeats a page";
    }
    if (_empty >= empty_pages_max || ++_pages >= listing_pages_max) {
      return "the store's list does not end: " + std::to_string(_seen.size()) +
             " pages, the last " + std::to_string(_empty) + " empty";
    }
    return {};
  }

 private:
  std::unordered_set<std::size_t> _seen;
  std::size_t _pages = 0;
  std::size_t _empty = 0;  // in a row
};

// What S3 makes of keys: the prefix, something, and the delimiter at the end.
bool is_common_prefix(const std::string& text, const list_request& request) {
  return text.size() > request.prefix.size() && text.starts_with(request.prefix) &&
         text.ends_with(request.delimiter);
}

}  // namespace

task<result<listing>> s3_client::list_objects(list_request request, engine::stop_token stop) {
  listing all;
  std::string token;
  page_turner pages;
  for (;;) {
    store_request what("GET", object_key(), answer_kind::document);
    what.query = {{"encoding-type", "url"}, {"list-type", "2"}, {"prefix", request.prefix}};
    if (!request.delimiter.empty()) {
      what.query.emplace_back("delimiter", request.delimiter);
    }
    if (!request.start_after.empty()) {
      what.query.emplace_back("start-after", request.start_after);
    }
    if (!token.empty()) {
      what.query.emplace_back("continuation-token", token);
    }
    auto sending = _exchange.send(std::move(what), stop);
    auto answer = co_await std::move(sending);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto page = parse_listing(answer->body);
    if (!page) {
      co_return std::move(page.error()).within("listing " + request.prefix);
    }
    for (auto& object : page->content.objects) {
      if (!object.key.str().starts_with(request.prefix)) {
        co_return protocol_error("listing " + request.prefix,
                                 "the store lists " + one_line(object.key.str()));
      }
      all.objects.push_back(std::move(object));
    }
    const bool empty = page->content.objects.empty() && page->content.common_prefixes.empty();
    for (auto& prefix : page->content.common_prefixes) {
      if (!is_common_prefix(prefix, request)) {
        co_return protocol_error("listing " + request.prefix,
                                 "the store lists the prefix \"" + one_line(prefix) + "\"");
      }
      all.common_prefixes.push_back(std::move(prefix));
    }
    if (all.objects.size() + all.common_prefixes.size() > request.objects_max) {
      error failure;
      failure.message =
          "more than " + std::to_string(request.objects_max) + " objects under " + request.prefix;
      co_return failure;
    }
    if (page->next_token.empty()) {
      co_return all;
    }
    if (std::string why = pages.turn(page->next_token, empty); !why.empty()) {
      co_return protocol_error("listing " + request.prefix, std::move(why));
    }
    token = page->next_token;
  }
}

task<result<std::vector<listed_part>>> s3_client::list_parts(object_key key, upload_id id,
                                                             engine::stop_token stop) {
  std::vector<listed_part> all;
  std::optional<part_number> marker;
  for (;;) {
    store_request what("GET", key, answer_kind::document);
    what.query = {{"uploadId", id.str()}};
    if (marker) {
      what.query.emplace_back("part-number-marker", std::to_string(*marker));
    }
    auto sending = _exchange.send(std::move(what), stop);
    auto answer = co_await std::move(sending);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto page = parse_parts(answer->body);
    if (!page) {
      co_return std::move(page.error()).within("parts of " + key.str());
    }
    for (const listed_part& part : page->parts) {
      if (!all.empty() && part.number <= all.back().number) {
        co_return protocol_error(key, "the store lists parts out of order");
      }
      all.push_back(part);
    }
    if (!page->next_marker) {
      co_return all;
    }
    // Markers grow, so that there are at most part_number_max pages.
    if (*page->next_marker <= marker.value_or(0)) {
      co_return protocol_error(key, "the store repeats a page of parts");
    }
    marker = page->next_marker;
  }
}

task<result<std::vector<listed_upload>>> s3_client::list_multipart_uploads(
    std::string prefix, engine::stop_token stop) {
  std::vector<listed_upload> all;
  std::optional<std::pair<std::string, std::string>> marker;
  page_turner pages;
  for (;;) {
    store_request what("GET", object_key(), answer_kind::document);
    what.query = {{"encoding-type", "url"}, {"prefix", prefix}, {"uploads", ""}};
    if (marker) {
      what.query.emplace_back("key-marker", marker->first);
      what.query.emplace_back("upload-id-marker", marker->second);
    }
    auto sending = _exchange.send(std::move(what), stop);
    auto answer = co_await std::move(sending);
    if (!answer) {
      co_return std::move(answer.error());
    }
    auto page = parse_uploads(answer->body);
    if (!page) {
      co_return std::move(page.error()).within("uploads under " + prefix);
    }
    const bool empty = page->uploads.empty();
    for (listed_upload& upload : page->uploads) {
      if (!upload.key.str().starts_with(prefix)) {
        co_return protocol_error("uploads under " + prefix,
                                 "the store lists " + one_line(upload.key.str()));
      }
      all.push_back(std::move(upload));
    }
    if (!page->next_marker) {
      co_return all;
    }
    const std::string next = page->next_marker->first + "\n" + page->next_marker->second;
    std::string why = pages.turn(next, empty);
    if (why.empty() && all.size() > uploads_max) {
      why = "the list does not end";
    }
    if (!why.empty()) {
      co_return protocol_error("uploads under " + prefix, std::move(why));
    }
    marker = page->next_marker;
  }
}

}  // namespace bts3::s3
