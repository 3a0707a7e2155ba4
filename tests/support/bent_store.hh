// A memory store whose GETs and HEADs can be changed, and which remembers its GETs.
#pragma once

#include "tests/support/memory_store.hh"

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace bts3::testing {

class bent_store final : public s3::object_store {
 public:
  explicit bent_store(memory_store& inner) : _inner(inner) {}
  std::function<void(const s3::get_request&, std::size_t)> before;  // with the GET's number, from 1
  std::function<void(const s3::get_request&, std::size_t)> after;   // may spoil request.into
  std::function<void()> before_head;
  std::vector<s3::get_request> gets;

  engine::task<engine::result<std::size_t>> get_object(s3::get_request request,
                                                       engine::stop_token stop) override {
    gets.push_back(request);
    const std::size_t count = gets.size();
    if (before) {
      before(request, count);
    }
    const s3::get_request copy = request;
    auto getting = _inner.get_object(std::move(request), stop);
    auto got = co_await std::move(getting);
    if (got && after) {
      after(copy, count);
    }
    co_return got;
  }
  engine::task<engine::result<s3::object_info>> head_object(s3::object_key key,
                                                            engine::stop_token stop) override {
    if (before_head) {
      before_head();
    }
    return _inner.head_object(std::move(key), stop);
  }
  engine::task<engine::result<s3::text_object>> get_object_text(s3::object_key key,
                                                                std::size_t bytes_max,
                                                                engine::stop_token stop) override {
    return _inner.get_object_text(std::move(key), bytes_max, stop);
  }
  engine::task<engine::result<s3::etag>> put_object(s3::put_request request,
                                                    engine::stop_token stop) override {
    return _inner.put_object(std::move(request), stop);
  }
  engine::task<engine::result<s3::listing>> list_objects(s3::list_request request,
                                                         engine::stop_token stop) override {
    return _inner.list_objects(std::move(request), stop);
  }
  engine::task<engine::result<void>> delete_object(s3::object_key key,
                                                   engine::stop_token stop) override {
    return _inner.delete_object(std::move(key), stop);
  }
  engine::task<engine::result<s3::created_upload>> create_multipart_upload(
      s3::object_key key, s3::write_options options, engine::stop_token stop) override {
    return _inner.create_multipart_upload(std::move(key), std::move(options), stop);
  }
  engine::task<engine::result<s3::etag>> upload_part(s3::upload_part_request request,
                                                     engine::stop_token stop) override {
    return _inner.upload_part(std::move(request), stop);
  }
  engine::task<engine::result<s3::etag>> complete_multipart_upload(
      s3::object_key key, s3::upload_id id, std::vector<s3::completed_part> parts,
      engine::stop_token stop) override {
    return _inner.complete_multipart_upload(std::move(key), std::move(id), std::move(parts), stop);
  }
  engine::task<engine::result<void>> abort_multipart_upload(s3::object_key key, s3::upload_id id,
                                                            engine::stop_token stop) override {
    return _inner.abort_multipart_upload(std::move(key), std::move(id), stop);
  }
  engine::task<engine::result<std::vector<s3::listed_part>>> list_parts(
      s3::object_key key, s3::upload_id id, engine::stop_token stop) override {
    return _inner.list_parts(std::move(key), std::move(id), stop);
  }
  engine::task<engine::result<std::vector<s3::listed_upload>>> list_multipart_uploads(
      std::string prefix, engine::stop_token stop) override {
    return _inner.list_multipart_uploads(std::move(prefix), stop);
  }
  engine::task<engine::result<s3::restore_outcome>> restore_object(
      s3::object_key key, std::optional<unsigned> days, std::optional<s3::retrieval_tier> tier,
      engine::stop_token stop) override {
    return _inner.restore_object(std::move(key), days, tier, stop);
  }

 private:
  memory_store& _inner;
};

}  // namespace bts3::testing
