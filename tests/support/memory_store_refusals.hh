// How the memory store refuses, as S3 does.
#pragma once

#include "engine/error.hh"

#include <string>
#include <utility>

namespace bts3::testing {

inline engine::error refusal(engine::disposition what_now, engine::reason why, int status,
                             std::string code, const std::string& key) {
  engine::error failure;
  failure.what_now = what_now;
  failure.why = why;
  failure.status = status;
  failure.message = key + ": " + code;
  failure.code = std::move(code);
  return failure;
}

inline engine::error no_such_key(const std::string& key) {
  return refusal(engine::disposition::not_found, engine::reason::unspecified, 404, "NoSuchKey",
                 key);
}

inline engine::error no_such_upload(const std::string& key) {
  return refusal(engine::disposition::not_found, engine::reason::unspecified, 404, "NoSuchUpload",
                 key);
}

inline engine::error condition_failed(const std::string& key) {
  return refusal(engine::disposition::fail, engine::reason::precondition, 412, "PreconditionFailed",
                 key);
}

inline engine::error bad_argument(const std::string& key, std::string code) {
  return refusal(engine::disposition::fail, engine::reason::unspecified, 400, std::move(code), key);
}

inline engine::error checksums_refused(const std::string& key) {
  return refusal(engine::disposition::fail, engine::reason::unsupported, 501, "NotImplemented",
                 key);
}

inline engine::error still_archived(const std::string& key) {
  return refusal(engine::disposition::fail, engine::reason::not_thawed, 403, "InvalidObjectState",
                 key);
}

}  // namespace bts3::testing
