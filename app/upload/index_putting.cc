#include "app/upload/index_putting.hh"

#include "app/host/headway.hh"
#include "engine/age/header.hh"
#include "planner/keys.hh"
#include "s3/verbs/multipart_upload.hh"
#include "s3/verbs/object_store.hh"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::log_level;
using engine::reason;
using engine::result;
using engine::task;

// Whether it may be in the bucket although putting it failed so: the store has not answered that it
// did nothing.
bool may_be_put(const error& failure) {
  return failure.why != reason::access && failure.why != reason::unsupported &&
         failure.why != reason::configuration && failure.why != reason::precondition &&
         failure.why != reason::bad_request;
}

s3::write_options index_options(const services& with) {
  s3::write_options options = document_options(with);
  options.content_type = s3::write_options().content_type;
  return options;
}

error not_taken(std::chrono::milliseconds patience) {
  error failure;
  failure.message =
      "the store has made no headway with it for " + std::to_string(patience.count() / 1000) + " s";
  return failure;
}

}  // namespace

planner::index_record index_putting::record_of(const made_index& made) const {
  planner::index_record record;
  record.key = planner::index_key(_intent.keys_root, _intent.kind, _intent.when, _intent.chunk_tag,
                                  _intent.sealing.has_value());
  record.size = made.size;
  record.sha256 = made.sha256.hex();
  record.plain_size = made.plain_size;
  if (made.plain_sha256) {
    record.plain_sha256 = made.plain_sha256->hex();
  }
  return record;
}

// Everything before sees to it that what is about to be sent of a sealed backup is an age file.
// This is for the day on which it does not.
task<result<void>> index_putting::check_sealed(const planner::index_record& record, int file) {
  if (!_intent.sealing) {
    co_return engine::ok();
  }
  std::array<std::byte, age::version_line.size()> begin{};
  auto reading = _with.loop.read_at(file, std::span(begin), 0);
  auto read = co_await std::move(reading);
  if (!read) {
    co_return std::move(read.error());
  }
  const auto expected = std::as_bytes(std::span(age::version_line));
  if (record.plain_size && *read == begin.size() &&
      std::equal(begin.begin(), begin.end(), expected.begin())) {
    co_return engine::ok();
  }
  error failure;
  failure.message = record.key + " is not sealed: it is not sent";
  failure.remedy = "this is a defect of this program";
  co_return failure;
}

task<result<void>> index_putting::send(store_connection& connection, backup_journal& journal,
                                       planner::index_record record, made_index made, int file) {
  auto checking = check_sealed(record, file);
  auto checked = co_await std::move(checking);
  if (!checked) {
    co_return checked;
  }
  auto noting = journal.note_index(record);
  auto noted = co_await std::move(noting);
  if (!noted) {
    co_return noted;
  }
  const bool there_before = std::exchange(_there, record).has_value();
  const s3::object_key key(record.key);
  file_to_put what(key, index_options(_with), file, made.size);
  what.crc32 = made.crc32;
  what.sha256 = made.sha256;
  headway moving(_with.loop, _limits.patience, _with.stop);
  auto putting = put_file(_with, connection.store(), std::move(what), _limits, moving);
  auto put = co_await std::move(putting);
  auto ending = moving.end();
  co_await std::move(ending);
  if (put) {
    co_return put;
  }
  error failure = moving.given_up() ? not_taken(_limits.patience) : std::move(put.error());
  if (!there_before && !may_be_put(failure) && !_limits.in_parts(made.size)) {
    _there.reset();
  }
  co_return std::move(failure).within("writing index " + record.key);
}

// No manifest will name what may lie there. What cannot be deleted is prune's.
task<void> index_putting::take_back(s3::object_store& store) {
  headway moving(_with.loop, _limits.patience, _with.stop);
  const s3::object_key key(_there->key);
  if (_limits.in_parts(_there->size)) {
    auto ending = s3::end_uploads(store, _with.log, key, std::nullopt, moving.token());
    (void)co_await std::move(ending);  // says itself what it leaves
  }
  auto deleting = store.delete_object(key, moving.token());
  auto deleted = co_await std::move(deleting);
  auto ending = moving.end();
  co_await std::move(ending);
  if (!deleted && deleted.error().what_now != engine::disposition::not_found) {
    const error& why = moving.given_up() ? not_taken(_limits.patience) : deleted.error();
    _with.log.write(log_level::warning, "backup", "object_left",
                    {{"key", key.str()}, {"error", why.text()}});
  }
}

task<result<std::optional<planner::index_record>>> index_putting::put(store_connection& connection,
                                                                      backup_journal& journal,
                                                                      const index_making* made) {
  if (made != nullptr && made->outcome()) {
    result<void> done = engine::ok();
    if (made->outcome()->has_value()) {
      const made_index& index = **made->outcome();
      auto sending = send(connection, journal, record_of(index), index, made->descriptor());
      done = co_await std::move(sending);
    } else {
      done = made->outcome()->error();
    }
    if (done) {
      co_return _there;
    }
    if (_with.stop.stop_requested()) {
      co_return engine::cancelled_error();
    }
    const error& why = done.error();
    _with.log.write(
        log_level::warning, "backup", "index_failed",
        {{"subvolume", _intent.subvolume},
         {"error", why.message},
         {"consequence", "the backup goes on without an index"},
         {"remedy",
          why.remedy.empty() ? "index.enabled = false makes backups without one" : why.remedy}});
  }
  if (_there) {
    auto taking = take_back(connection.store());
    co_await std::move(taking);
  }
  co_return std::optional<planner::index_record>();
}

}  // namespace bts3::app
