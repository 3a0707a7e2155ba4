#include "app/secrets/signing.hh"

#include "app/secrets/key_file.hh"

#include <chrono>
#include <ctime>
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

}  // namespace bts3::app
