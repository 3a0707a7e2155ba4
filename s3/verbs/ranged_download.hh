// Reads ranges of one object that must not change meanwhile.
//
// open() asks for the object's size and ETag; every fetch() is one ranged GET with If-Match on that
// ETag, so that ranges of two versions are never mixed. Any number of fetches may run at the same
// time; the caller decides how many, and keeps each target until its fetch() has returned.
//
// A fetch fills its target or fails: a store that answers short, with 200 instead of 206, or with
// another range makes get_object fail with disposition retry, and repeating that is
// retrying_store's business. A store that refuses If-Match although the object is the same (a HEAD
// tells) is read without the condition from then on.
#pragma once

#include "s3/verbs/object_store.hh"

#include <cstddef>
#include <cstdint>
#include <span>

namespace bts3::s3 {

class ranged_download {
 public:
  // For an object whose `info` is known already. The store must outlive it.
  ranged_download(object_store& store, object_key key, object_info info);

  // One HEAD. not_found when there is no such object.
  static engine::task<engine::result<ranged_download>> open(object_store& store, object_key key,
                                                            engine::stop_token stop);

  // Fills `into` (at least one byte) with the object's bytes from `offset` on. A range that reaches
  // beyond the object is an integrity error and costs no request; an object that changed since
  // open() is a `precondition` error. Suspends until the store has answered.
  engine::task<engine::result<void>> fetch(std::uint64_t offset, std::span<std::byte> into,
                                           engine::stop_token stop, bool fresh_connection = false);

  [[nodiscard]] const object_key& key() const { return _key; }
  [[nodiscard]] const object_info& info() const { return _info; }

 private:
  engine::task<engine::result<bool>> unchanged(engine::stop_token stop);

  object_store* _store;
  object_key _key;
  object_info _info;
  bool _conditional;
};

}  // namespace bts3::s3
