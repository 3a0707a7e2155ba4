#include "app/secrets/signing.hh"

#include "app/secrets/key_file.hh"
#include "engine/age/primitives.hh"
#include "engine/age/ssh_signature.hh"

#include <chrono>
#include <ctime>
#include <span>
#include <utility>

namespace bts3::app {

namespace {

using engine::result;

std::chrono::sys_seconds by_zone_of_host(std::chrono::local_seconds when) {
  const auto day = std::chrono::floor<std::chrono::days>(when);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(when - day);
  std::tm local{};
  local.tm_year = static_cast<int>(date.year()) - 1900;
  local.tm_mon = static_cast<int>(static_cast<unsigned>(date.month())) - 1;
  local.tm_mday = static_cast<int>(static_cast<unsigned>(date.day()));
  local.tm_hour = static_cast<int>(time.hours().count());
  local.tm_min = static_cast<int>(time.minutes().count());
  local.tm_sec = static_cast<int>(time.seconds().count());
  local.tm_isdst = -1;  // whichever it was then
  return std::chrono::sys_seconds(std::chrono::seconds(std::mktime(&local)));
}

}  // namespace

result<age::ssh_private_key> read_signing_key(const std::string& path) {
  const auto text = read_secret_file(path);
  if (!text) {
    return text.error();
  }
  auto key = age::ssh_private_key::parse(text->view());
  if (!key) {
    return std::move(key.error()).within(path);
  }
  return std::move(*key);
}

result<std::vector<age::allowed_signer>> read_trusted_signers(const std::string& path) {
  const auto text = read_trusted_file(path);
  if (!text) {
    return text.error();
  }
  auto signers = age::parse_allowed_signers(text->view(), by_zone_of_host);
  if (!signers) {
    return std::move(signers.error()).within(path);
  }
  return std::move(*signers);
}

namespace {

signature_finding bad_signature(std::string problem) {
  signature_finding made;
  made.is = signature_finding::what::bad;
  made.problem = std::move(problem);
  return made;
}

// Why a key that made a signature does not count.
std::string why_not_trusted(const age::ssh_public_key& key,
                            const std::vector<age::allowed_signer>& signers,
                            std::chrono::sys_seconds when) {
  std::string why = "its key is not among the trusted signers";
  for (const age::allowed_signer& one : signers) {
    if (one.key == key) {
      why = one.is_for(age::signature_namespace)
                ? one.is_valid_at(when) ? why : "its key was not valid when the backup was made"
                : "its key is trusted for other namespaces only";
    }
  }
  return why;
}

}  // namespace

signature_finding judge_signature(std::string_view manifest,
                                  const std::optional<std::string>& signature,
                                  const std::vector<age::allowed_signer>& signers,
                                  std::chrono::sys_seconds when) {
  signature_finding made;
  if (!signature) {
    made.problem = "it is not signed";
    return made;
  }
  const auto claimed = age::claimed_signer(*signature);
  if (!claimed) {
    return bad_signature("what lies beside it as its signature is none");
  }
  // By its own key, whoever that belongs to.
  const age::allowed_signer itself{"", *claimed, "", std::nullopt, std::nullopt};
  const auto sound = age::verify_message(*signature, age::bytes_of(manifest),
                                         age::signature_namespace, std::span(&itself, 1), when);
  if (!sound) {
    return bad_signature("its signature is not one of this manifest");
  }
  const auto fingerprint = claimed->fingerprint();
  made.fingerprint = fingerprint ? *fingerprint : "";
  const auto signer = age::verify_message(*signature, age::bytes_of(manifest),
                                          age::signature_namespace, signers, when);
  if (signer) {
    made.is = signature_finding::what::trusted;
    made.signer = signer->principals;
    return made;
  }
  made.is = signature_finding::what::other;
  made.problem = why_not_trusted(*claimed, signers, when);
  return made;
}

}  // namespace bts3::app
