#include "s3/verbs/ranged_download.hh"

#include "engine/assert.hh"

#include <string>
#include <utility>

namespace bts3::s3 {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

ranged_download::ranged_download(object_store& store, object_key key, object_info info)
    : _store(&store),
      _key(std::move(key)),
      _info(std::move(info)),
      _conditional(!_info.tag.empty()) {}

task<result<ranged_download>> ranged_download::open(object_store& store, object_key key,
                                                    engine::stop_token stop) {
  auto asking = store.head_object(key, stop);
  auto info = co_await std::move(asking);
  if (!info) {
    co_return std::move(info.error());
  }
  co_return ranged_download(store, std::move(key), std::move(*info));
}

task<result<bool>> ranged_download::unchanged(engine::stop_token stop) {
  auto asking = _store->head_object(_key, stop);
  auto now = co_await std::move(asking);
  if (!now) {
    co_return std::move(now.error());
  }
  co_return now->tag == _info.tag && now->size == _info.size;
}

task<result<void>> ranged_download::fetch(std::uint64_t offset, std::span<std::byte> into,
                                          engine::stop_token stop, bool fresh_connection) {
  BTS3_ASSERT(!into.empty());
  if (offset > _info.size || into.size() > _info.size - offset) {
    error failure;
    failure.why = reason::integrity;
    failure.message = _key.str() + ": bytes " + std::to_string(offset) + " to " +
                      std::to_string(offset + into.size()) + " are wanted of an object of " +
                      std::to_string(_info.size);
    co_return failure;
  }
  for (;;) {
    get_request request(_key, into);
    request.range.emplace(offset, into.size());
    request.fresh_connection = fresh_connection;
    const bool conditional = _conditional;
    if (conditional) {
      request.must_match = _info.tag;
    }
    auto getting = _store->get_object(std::move(request), stop);
    auto got = co_await std::move(getting);
    if (got) {
      BTS3_ASSERT(*got == into.size());
      co_return engine::ok();
    }
    if (!conditional || got.error().why != reason::precondition) {
      co_return std::move(got.error());
    }
    {
      auto looking = unchanged(stop);
      auto same = co_await std::move(looking);
      if (!same) {
        co_return std::move(same.error());
      }
      if (!*same) {
        co_return std::move(got.error()).within("the object was replaced while it was being read");
      }
    }
    _conditional = false;
  }
}

}  // namespace bts3::s3
