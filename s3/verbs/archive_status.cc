#include "s3/verbs/archive_status.hh"

#include "engine/wall_time.hh"
#include "s3/http/ascii_text.hh"
#include "s3/http/one_line.hh"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <ctime>
#include <string>
#include <string_view>

namespace bts3::s3 {

namespace {

using engine::result;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

// Expedited retrievals of large objects come at up to 300 MB/s ("Understanding archive retrieval
// options", Amazon S3 User Guide).
constexpr std::uint64_t expedited_bytes_per_sec = 300'000'000;

constexpr std::string_view expiry_field = "expiry-date";

// The value of `name` in x-amz-restore: name="value", name="value", in letters of any case, with
// blanks around the sign or without. Some stores leave the quotes out: then a word ends at a comma
// and a date, which has one itself, at the end. Nullopt when it is not there.
std::optional<std::string> field_of(const std::string& header, std::string_view name) {
  const auto same = [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) ==
           std::tolower(static_cast<unsigned char>(b));
  };
  const auto at = std::search(header.begin(), header.end(), name.begin(), name.end(), same);
  std::string_view rest(header);
  rest.remove_prefix(static_cast<std::size_t>(at - header.begin()));
  rest.remove_prefix(std::min(name.size(), rest.size()));
  const auto skip_blanks = [&rest] {
    rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  };
  skip_blanks();
  if (!rest.starts_with('=')) {
    return std::nullopt;
  }
  rest.remove_prefix(1);
  skip_blanks();
  if (rest.starts_with('"')) {
    rest.remove_prefix(1);
    const std::size_t end = rest.find('"');
    return end == std::string_view::npos ? std::nullopt
                                         : std::optional(std::string(rest.substr(0, end)));
  }
  const bool is_date = name == expiry_field;
  const std::size_t end = is_date ? rest.size() : std::min(rest.find_first_of(", \t"), rest.size());
  return std::string(rest.substr(0, end));
}

// An HTTP date as AWS sends it, or ISO 8601 in UTC ("2012-12-21T00:00:00.000Z").
std::optional<wall_time> date_in(std::string_view text) {
  std::string date(text);
  if (date.size() >= 20 && date[4] == '-' && date[7] == '-' && date[10] == 'T') {
    date = date.substr(0, 4) + date.substr(5, 2) + date.substr(8, 2) + " " + date.substr(11, 8) +
           " GMT";
  }
  const std::time_t when = ::curl_getdate(date.c_str(), nullptr);
  if (when == -1) {
    return std::nullopt;
  }
  return engine::nearest_wall_time(std::chrono::sys_seconds(std::chrono::seconds(when)));
}

archive_depth depth_of(const object_info& info) {
  const std::string& stored_as = info.stored_as.str();
  if (stored_as == "GLACIER") {
    return archive_depth::archive;
  }
  if (stored_as == "DEEP_ARCHIVE") {
    return archive_depth::deep;
  }
  // Only INTELLIGENT_TIERING has this header, and only while the object lies in an archive tier.
  if (info.archive_status.empty()) {
    return archive_depth::none;
  }
  return info.archive_status == "ARCHIVE_ACCESS" ? archive_depth::archive : archive_depth::deep;
}

}  // namespace

result<archive_status> archive_status_of(const object_key& key, const object_info& info,
                                         wall_time now) {
  archive_status status;
  status.depth = depth_of(info);
  if (status.depth == archive_depth::none) {
    return status;
  }
  status.copied = info.archive_status.empty();
  status.state = archive_state::archived;
  if (info.restore.empty()) {
    return status;
  }
  const auto incomprehensible = [&] {
    engine::error failure;
    failure.why = engine::reason::protocol;
    failure.message = key.str() + ": x-amz-restore makes no sense: " + one_line(info.restore);
    return failure;
  };
  const std::string ongoing = lower_case(field_of(info.restore, "ongoing-request").value_or(""));
  if (ongoing == "true") {
    status.state = archive_state::thawing;
    return status;
  }
  if (ongoing != "false") {
    return incomprehensible();
  }
  if (!status.copied) {
    return status;  // back in an archive tier since
  }
  status.state = archive_state::thawed;
  if (const auto expiry = field_of(info.restore, expiry_field)) {
    status.until = date_in(*expiry);
    if (!status.until) {
      return incomprehensible();
    }
    if (*status.until <= now) {
      status.state = archive_state::expired;
    }
  }
  return status;
}

// "Archive retrieval options", Amazon S3 User Guide.
std::optional<thaw_time> typical_thaw_time(archive_depth depth, retrieval_tier tier,
                                           std::uint64_t bytes) {
  thaw_time typical;
  switch (depth) {
    case archive_depth::none:
      return typical;
    case archive_depth::archive:
      switch (tier) {
        case retrieval_tier::expedited:
          typical.least = minutes(1);
          typical.most = minutes(5) + seconds(bytes / expedited_bytes_per_sec);
          return typical;
        case retrieval_tier::standard:
          typical.least = hours(3);
          typical.most = hours(5);
          return typical;
        case retrieval_tier::bulk:
          typical.least = hours(5);
          typical.most = hours(12);
          return typical;
      }
      break;
    case archive_depth::deep:
      switch (tier) {
        case retrieval_tier::expedited:
          return std::nullopt;
        case retrieval_tier::standard:
          typical.most = hours(12);
          return typical;
        case retrieval_tier::bulk:
          typical.most = hours(48);
          return typical;
      }
      break;
  }
  return std::nullopt;
}

}  // namespace bts3::s3
