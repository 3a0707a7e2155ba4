#include "app/config/working_place.hh"

#include "s3/credentials/aws_settings.hh"
#include "s3/credentials/credentials.hh"

#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

error usage(std::string message, std::string remedy) {
  return engine::configuration_error(std::move(message), std::move(remedy));
}

}  // namespace

engine::environment_lookup environment_with_profile(engine::environment_lookup environment,
                                                    std::string profile) {
  if (profile.empty()) {
    return environment;
  }
  return [environment = std::move(environment),
          profile = std::move(profile)](std::string_view name) -> std::optional<std::string> {
    if (name == "AWS_PROFILE") {
      return profile;
    }
    if (name == "AWS_ACCESS_KEY_ID" || name == "AWS_SECRET_ACCESS_KEY" ||
        name == "AWS_SESSION_TOKEN") {
      return std::nullopt;
    }
    return environment(name);
  };
}

result<config> config_of_bucket(const bucket_place& command,
                                const engine::environment_lookup& environment) {
  constexpr std::string_view scheme = "s3://";
  const std::string_view from = command.from;
  const std::string_view path = from.starts_with(scheme) ? from.substr(scheme.size()) : "";
  const std::size_t slash = path.find('/');
  config made;
  made.s3.bucket = path.substr(0, slash);
  made.s3.prefix = slash == std::string_view::npos ? "" : path.substr(slash + 1);
  if (made.s3.bucket.empty()) {
    return usage("--from \"" + command.from + "\" names no bucket",
                 "write s3://bucket/prefix, the prefix being what s3.prefix was");
  }
  made.s3.endpoint_url = command.endpoint_url;
  if (made.s3.endpoint_url.empty()) {
    made.s3.endpoint_url = environment("BTRFS_TO_S3_S3_ENDPOINT_URL").value_or("");
  }
  if (made.s3.endpoint_url.empty()) {
    made.s3.endpoint_url = s3::configured_url("s3", environment).value;
  }
  made.s3.region = command.region;
  if (made.s3.region.empty()) {
    made.s3.region = environment("BTRFS_TO_S3_S3_REGION").value_or("");
  }
  if (made.s3.region.empty()) {
    made.s3.region = s3::find_region(environment).value_or("");
  }
  if (made.s3.region.empty() && !made.s3.endpoint_url.empty()) {
    made.s3.region = "us-east-1";  // what servers other than Amazon's go by unless told otherwise
  }
  if (made.s3.region.empty()) {
    return usage("the region of bucket " + made.s3.bucket + " is not known",
                 "name it with --region or AWS_REGION");
  }
  const engine::environment_lookup with_home = [&environment](std::string_view name) {
    auto value = environment(name);
    // A host with nothing but the program has no home for defaults to expand in.
    const bool none = !value || !value->starts_with('/');
    return name == "HOME" && none ? std::optional<std::string>("/root") : value;
  };
  return with_environment(std::move(made),
                          {"s3.bucket", "s3.prefix", "s3.region", "s3.endpoint_url"}, with_home);
}

const bucket_place* place_in(const command_line& line) {
  return std::visit(
      [](const auto& command) -> const bucket_place* {
        if constexpr (std::is_base_of_v<bucket_place, std::decay_t<decltype(command)>>) {
          return &command;
        } else {
          return nullptr;
        }
      },
      line.command);
}

result<config> settings_for(const command_line& line,
                            const engine::environment_lookup& environment) {
  if (std::holds_alternative<init_command>(line.command) ||
      std::holds_alternative<keys_generate_command>(line.command) ||
      std::holds_alternative<keys_show_command>(line.command)) {
    return config();  // there is none yet, or none is asked
  }
  const bucket_place* const place = place_in(line);
  if (place != nullptr && !place->from.empty()) {
    return config_of_bucket(*place, environment);
  }
  auto settings = load_config(line.common.config_path, environment);
  if (!settings && settings.error().what_now == engine::disposition::not_found &&
      place != nullptr) {
    settings.error().remedy =
        "name one with --config, or work without one: --from s3://bucket/prefix --region NAME";
  }
  return settings;
}

engine::told_place told_place_of(const command_line& line) {
  engine::told_place told;
  const bucket_place* const place = place_in(line);
  if (place == nullptr || place->from.empty()) {
    const std::string& path = line.common.config_path;
    told.config = path == common_options().config_path ? "" : path;
    return told;
  }
  for (const auto& [option, value] :
       {std::pair("--from", &place->from), std::pair("--region", &place->region),
        std::pair("--endpoint-url", &place->endpoint_url),
        std::pair("--profile", &place->profile)}) {
    if (!value->empty()) {
      told.bucket.push_back({option, *value});
    }
  }
  return told;
}

}  // namespace bts3::app
