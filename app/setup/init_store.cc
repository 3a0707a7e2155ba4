#include "app/setup/init_store.hh"

#include "app/store/stored_subvolumes.hh"

#include <algorithm>
#include <chrono>
#include <initializer_list>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::reason;
using engine::result;
using engine::task;

// What does not answer by then is not there: a person waits for this.
constexpr std::chrono::milliseconds patience{15'000};

}  // namespace

culprits culprits_of(const error& failure) {
  const auto is = [&](std::initializer_list<std::string_view> codes) {
    return std::find(codes.begin(), codes.end(), failure.code) != codes.end();
  };
  culprits who;
  if (is({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})) {
    who.keys = true;
  } else if (is({"NoSuchBucket", "InvalidBucketName"}) ||
             failure.what_now == engine::disposition::not_found) {
    who.bucket = true;
  } else if (is({"AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect",
                 "IllegalLocationConstraintException"})) {
    who.region = who.endpoint = true;
  } else if (failure.why == reason::access) {
    who.bucket = who.other_keys = true;
  } else {
    who.endpoint = who.region = who.bucket = true;
  }
  return who;
}

std::optional<std::string> init_store::lookup(std::string_view name) const {
  if (_typed) {
    if (name == "AWS_ACCESS_KEY_ID") {
      return _typed->id;
    }
    if (name == "AWS_SECRET_ACCESS_KEY") {
      return std::string(_typed->secret.view());
    }
    if (name == "AWS_SESSION_TOKEN") {
      return std::nullopt;
    }
  }
  return _with.environment(name);
}

task<result<store_sight>> init_store::look_at_bucket(const services& here,
                                                     store_connection& connection) {
  auto asking = connection.credentials()->get(_with.stop);
  auto who = co_await std::move(asking);
  if (!who) {
    if (who.error().what_now != engine::disposition::cancelled && who.error().code.empty()) {
      who.error().code = "InvalidAccessKeyId";  // for culprits_of()
    }
    co_return std::move(who.error());
  }
  store_sight seen;
  seen.place = "s3://" + here.settings.s3.bucket + "/" + here.settings.s3.prefix;
  auto listing =
      subvolumes_in_bucket(connection.store(), here.settings.s3.prefix, _with.stop, nullptr);
  auto names = co_await std::move(listing);
  if (!names) {
    co_return std::move(names.error()).within(seen.place);
  }
  seen.known = names->size();
  seen.first_known = names->empty() ? "" : names->front();
  seen.who = std::move(*who);
  co_return seen;
}

task<result<store_sight>> init_store::look(init_answers answers) {
  answers.storage_class = proposed_class(answers.endpoint_url);
  auto settings = configured(answers, _with.environment);
  if (!settings) {
    co_return std::move(settings.error());
  }
  settings->s3.retry_for = std::min(settings->s3.retry_for, patience);
  services here = {_with.loop, _with.log,    _with.clock, *settings,
                   _with.host, _environment, _with.stop};
  here.line = _with.line;
  auto connection = store_connection::open(here, persistence::of_a_question);
  if (!connection) {
    co_return std::move(connection.error());
  }
  auto looking = look_at_bucket(here, **connection);
  auto looked = co_await std::move(looking);
  auto closing = (*connection)->close();
  co_await std::move(closing);
  if (!looked && _typed) {
    std::string& said = looked.error().message;
    constexpr std::string_view from = " from the environment";
    if (const std::size_t at = said.find(from); at != std::string::npos) {
      said.replace(at, from.size(), ", as typed");
    }
  }
  co_return looked;
}

}  // namespace bts3::app
