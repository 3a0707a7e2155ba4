#include "s3/credentials/aws_settings.hh"

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <string_view>
#include <system_error>
#include <utility>

namespace bts3::s3 {

namespace {

using engine::error;
using engine::result;
using engine::value_of;

std::string lower(std::string text) {
  for (char& c : text) {
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return text;
}

named_value of_variable(const engine::environment_lookup& environment, const char* variable) {
  std::string value = value_of(environment, variable);
  return value.empty() ? named_value{} : named_value{std::move(value), variable};
}

named_value of_profile(const shared_profiles& profiles, const std::string& section,
                       const char* setting) {
  std::string value = profiles.setting(section, setting);
  if (value.empty()) {
    return {};
  }
  return {std::move(value), std::string(setting) + " of " + profiles.where(section, setting)};
}

// The variable, or else the first of the profile's settings.
named_value setting_of(const engine::environment_lookup& environment, const char* variable,
                       std::initializer_list<const char*> settings) {
  named_value found = of_variable(environment, variable);
  if (!found.value.empty()) {
    return found;
  }
  const shared_profiles profiles = shared_profiles::read(environment);
  for (const char* setting : settings) {
    found = of_profile(profiles, profiles.chosen(), setting);
    if (!found.value.empty()) {
      break;
    }
  }
  return found;
}

error bad_setting(const named_value& setting, std::string remedy) {
  return engine::configuration_error(setting.from + " = \"" + setting.value + "\"",
                                     std::move(remedy));
}

// Whether it is set to true.
result<bool> flag_of(const named_value& setting) {
  const std::string value = lower(setting.value);
  if (value.empty() || value == "false") {
    return false;
  }
  if (value == "true") {
    return true;
  }
  return bad_setting(setting, "it must be true or false");
}

named_value ignore_setting(const engine::environment_lookup& environment) {
  return setting_of(environment, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
                    {"ignore_configured_endpoint_urls"});
}

}  // namespace

named_value configured_url(const std::string& service,
                           const engine::environment_lookup& environment) {
  const auto ignored = flag_of(ignore_setting(environment));
  if (ignored && *ignored) {
    return {};
  }
  std::string variable = "AWS_ENDPOINT_URL_" + service;
  for (char& c : variable) {
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  for (const std::string& name : {variable, std::string("AWS_ENDPOINT_URL")}) {
    if (named_value found = of_variable(environment, name.c_str()); !found.value.empty()) {
      return found;
    }
  }
  const shared_profiles profiles = shared_profiles::read(environment);
  if (const std::string section = profiles.setting(profiles.chosen(), "services");
      !section.empty()) {
    named_value found =
        of_profile(profiles, "services " + section, (service + ".endpoint_url").c_str());
    if (!found.value.empty()) {
      return found;
    }
  }
  return of_profile(profiles, profiles.chosen(), "endpoint_url");
}

result<endpoint_variant> wanted_variant(const engine::environment_lookup& environment) {
  if (auto ignored = flag_of(ignore_setting(environment)); !ignored) {
    return std::move(ignored.error());
  }
  const shared_profiles profiles = shared_profiles::read(environment);
  const named_value accelerate =
      of_profile(profiles, profiles.chosen(), "s3.use_accelerate_endpoint");
  const auto accelerates = flag_of(accelerate);
  if (!accelerates || *accelerates) {
    return bad_setting(accelerate,
                       "transfer acceleration is not supported: remove it, or use a profile "
                       "without it (AWS_PROFILE)");
  }
  endpoint_variant wanted;
  const std::pair<named_value, std::string*> flags[] = {
      {setting_of(environment, "AWS_USE_DUALSTACK_ENDPOINT",
                  {"use_dualstack_endpoint", "s3.use_dualstack_endpoint"}),
       &wanted.dualstack},
      {setting_of(environment, "AWS_USE_FIPS_ENDPOINT", {"use_fips_endpoint"}), &wanted.fips}};
  for (const auto& [setting, into] : flags) {
    const auto flag = flag_of(setting);
    if (!flag) {
      return flag.error();
    }
    *into = *flag ? setting.from : "";
  }
  return wanted;
}

named_value ca_bundle_file(const engine::environment_lookup& environment) {
  named_value found = setting_of(environment, "AWS_CA_BUNDLE", {"ca_bundle"});
  for (const char* variable : {"CURL_CA_BUNDLE", "SSL_CERT_FILE"}) {
    if (!found.value.empty()) {
      break;
    }
    found = of_variable(environment, variable);
  }
  return found;
}

namespace {

// A file by which OpenSSL finds a certificate: eight hexadecimal digits, a dot, a number.
bool is_hashed_name(const std::string& name) {
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return name.size() > 9 && name[8] == '.' && std::all_of(name.begin(), name.begin() + 8, is_hex) &&
         std::all_of(name.begin() + 9, name.end(), is_digit);
}

}  // namespace

result<std::string> ca_directory(const engine::environment_lookup& environment) {
  const named_value file = ca_bundle_file(environment);
  const named_value named = of_variable(environment, "SSL_CERT_DIR");
  if (named.value.empty() || (!file.value.empty() && file.from != "SSL_CERT_FILE")) {
    return std::string();
  }
  std::string_view rest = named.value;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find(':'), rest.size());
    const std::filesystem::path one(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    std::error_code code;
    bool found = false;
    for (std::filesystem::directory_iterator entry(one, code), none; !code && entry != none;
         entry.increment(code)) {
      found = found || is_hashed_name(entry->path().filename().string());
    }
    if (code || !found) {
      error failure = bad_setting(named,
                                  "let it name a directory with certificates by their "
                                  "hashes (openssl rehash DIRECTORY makes them), or unset "
                                  "it and name a PEM file in SSL_CERT_FILE");
      failure.message += ": " + one.string() +
                         (code ? ": " + code.message()
                               : " has no certificate by its hash, as "
                                 "00673b5b.0");
      return failure;
    }
  }
  return named.value;
}

result<nested_s3_settings> nested_s3(const engine::environment_lookup& environment) {
  const shared_profiles profiles = shared_profiles::read(environment);
  nested_s3_settings found;
  const named_value style = of_profile(profiles, profiles.chosen(), "s3.addressing_style");
  const std::string value = lower(style.value);
  if (value == "path" || value == "virtual") {
    found.addressing_style = value;
  } else if (!value.empty() && value != "auto") {
    return bad_setting(style, "it must be path, virtual or auto");
  }
  const auto signs = flag_of(of_profile(profiles, profiles.chosen(), "s3.payload_signing_enabled"));
  if (!signs) {
    return signs.error();
  }
  found.payload_signing_enabled = *signs;
  return found;
}

result<bool> checksums_when_required(const engine::environment_lookup& environment) {
  const named_value setting =
      setting_of(environment, "AWS_REQUEST_CHECKSUM_CALCULATION", {"request_checksum_calculation"});
  const std::string value = lower(setting.value);
  if (value.empty() || value == "when_supported" || value == "when_required") {
    return value == "when_required";
  }
  return bad_setting(setting, "it must be when_supported or when_required");
}

result<bool> legacy_sts(const engine::environment_lookup& environment) {
  const named_value setting =
      setting_of(environment, "AWS_STS_REGIONAL_ENDPOINTS", {"sts_regional_endpoints"});
  const std::string value = lower(setting.value);
  if (value.empty() || value == "regional" || value == "legacy") {
    return value == "legacy";
  }
  return bad_setting(setting, "it must be regional or legacy");
}

}  // namespace bts3::s3
