// The client's verb for what lies in an archive.
#include "engine/assert.hh"
#include "s3/verbs/s3_client.hh"
#include "s3/verbs/xml.hh"

#include <utility>

namespace bts3::s3 {

using engine::disposition;
using engine::error;
using engine::reason;
using engine::result;
using engine::task;

namespace {

// Refusals of RestoreObject that are answers ("RestoreObject", Amazon S3 API Reference).
constexpr std::pair<const char*, restore_outcome> restore_codes[] = {
    {"RestoreAlreadyInProgress", restore_outcome::in_progress},
    {"GlacierExpeditedRetrievalNotAvailable", restore_outcome::no_expedited_capacity},
    {"InvalidObjectState", restore_outcome::not_archived},
};

}  // namespace

task<result<restore_outcome>> s3_client::restore_object(object_key key,
                                                        std::optional<unsigned> days,
                                                        std::optional<retrieval_tier> tier,
                                                        engine::stop_token stop) {
  BTS3_ASSERT(!days || *days >= 1);
  const std::string body = write_restore_request(days, tier);
  store_request what("POST", key, answer_kind::nothing);
  what.query = {{"restore", ""}};
  what.headers.emplace_back("content-type", "application/xml");
  what.form.sign_payload = true;  // it is small, and every store understands that
  what.body = std::as_bytes(std::span(body.data(), body.size()));
  auto sending = _exchange.send(std::move(what), stop);
  auto answer = co_await std::move(sending);
  if (answer) {
    if (answer->status == 202) {
      co_return restore_outcome::accepted;
    }
    if (answer->status == 200) {
      co_return restore_outcome::thawed_already;
    }
    co_return protocol_error(
        key, "the store answered " + std::to_string(answer->status) + " to RestoreObject");
  }
  error failure = std::move(answer.error());
  for (const auto& [code, outcome] : restore_codes) {
    if (failure.code == code) {
      co_return outcome;
    }
  }
  if (failure.status == 405 || failure.status == 501) {
    failure.what_now = disposition::fail;
    failure.why = reason::unsupported;
    failure.remedy =
        "this store has no RestoreObject: make the object readable with the store's own tools, or "
        "copy it into a class that needs no thawing";
  } else if (failure.code == "AccessDenied") {
    failure.remedy = "thawing needs the permission s3:RestoreObject: check the policies";
  }
  co_return failure;
}

}  // namespace bts3::s3
