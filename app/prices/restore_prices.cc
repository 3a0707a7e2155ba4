#include "app/prices/restore_prices.hh"

#include "engine/assert.hh"

#include <toml++/toml.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <utility>

namespace bts3::app {

namespace {

using engine::error;
using engine::result;

constexpr double gigabyte = 1024.0 * 1024.0 * 1024.0;
constexpr double days_per_month = 30;
constexpr std::int64_t minimum_days_max = 3650;
constexpr std::size_t file_bytes_max = 64 * 1024;  // the one below has 2 KiB

// Amazon S3, US East (N. Virginia): https://aws.amazon.com/s3/pricing/, by what quoted it in June
// 2026:
//   retrieval from GLACIER: "Manage data retrieval costs", AWS re:Post Knowledge Center, works with
//     $0.05 a thousand and $0.01 a GB (Standard), $10 a thousand (Expedited)
//   retrieval from DEEP_ARCHIVE, requests, storage: the AWS Price List for us-east-1, as published
//     cost tools embed it (first 50 TB; INTELLIGENT_TIERING in its frequent tier); Bulk from
//     GLACIER has been free since November 2021
//   transfer: $0.09 a GB for the first 10 TB a month, after 100 GB that are free
// Retrieval from the archive tiers of INTELLIGENT_TIERING is free but for Expedited, and makes no
// copy. A copy is stored at the price of STANDARD, first 50 TB.
constexpr std::string_view built_in = R"toml(
name = "Amazon S3"
as_of = "2026-06"
region = "us-east-1"
endpoint_url = ""
currency = "USD"
copy_per_gb_month = 0.023
transfer_per_gb = 0.09

[class.STANDARD]
store_per_gb_month = 0.023
minimum_days = 0
get_per_1000 = 0.0004

[class.REDUCED_REDUNDANCY]
store_per_gb_month = 0.024
minimum_days = 0
get_per_1000 = 0.0004

[class.INTELLIGENT_TIERING]
store_per_gb_month = 0.023
minimum_days = 0
get_per_1000 = 0.0004

[class."INTELLIGENT_TIERING (ARCHIVE_ACCESS)"]
get_per_1000 = 0.0004
tier.Standard = { per_gb = 0.0, per_1000_requests = 0.0 }
tier.Bulk = { per_gb = 0.0, per_1000_requests = 0.0 }
tier.Expedited = { per_gb = 0.03, per_1000_requests = 10.0 }

[class."INTELLIGENT_TIERING (DEEP_ARCHIVE_ACCESS)"]
get_per_1000 = 0.0004
tier.Standard = { per_gb = 0.0, per_1000_requests = 0.0 }
tier.Bulk = { per_gb = 0.0, per_1000_requests = 0.0 }

[class.STANDARD_IA]
store_per_gb_month = 0.0125
minimum_days = 30
get_per_1000 = 0.001
read_per_gb = 0.01

[class.ONEZONE_IA]
store_per_gb_month = 0.01
minimum_days = 30
get_per_1000 = 0.001
read_per_gb = 0.01

[class.GLACIER_IR]
store_per_gb_month = 0.004
minimum_days = 90
get_per_1000 = 0.01
read_per_gb = 0.03

[class.GLACIER]
store_per_gb_month = 0.0036
minimum_days = 90
get_per_1000 = 0.0004
copies = true
tier.Standard = { per_gb = 0.01, per_1000_requests = 0.05 }
tier.Bulk = { per_gb = 0.0, per_1000_requests = 0.0 }
tier.Expedited = { per_gb = 0.03, per_1000_requests = 10.0 }

[class.DEEP_ARCHIVE]
store_per_gb_month = 0.00099
minimum_days = 180
get_per_1000 = 0.0004
copies = true
tier.Standard = { per_gb = 0.02, per_1000_requests = 0.10 }
tier.Bulk = { per_gb = 0.0025, per_1000_requests = 0.025 }
)toml";

// Reads a table, collecting every problem on the way.
class price_reader {
 public:
  explicit price_reader(std::string file) : _file(std::move(file)) {}

  result<price_table> read(const toml::table& document) {
    price_table made;
    know(document, "",
         {"name", "as_of", "region", "endpoint_url", "currency", "copy_per_gb_month",
          "transfer_per_gb", "class"});
    made.name = text(document, "name");
    made.as_of = text(document, "as_of");
    made.region = text(document, "region");
    made.endpoint = document.contains("endpoint_url") ? text(document, "endpoint_url", true) : "";
    made.currency = text(document, "currency");
    made.copy_per_gb_month = number(document, "", "copy_per_gb_month");
    made.transfer_per_gb = number(document, "", "transfer_per_gb");
    const toml::table* classes = document["class"].as_table();
    if (classes == nullptr || classes->empty()) {
      problem("[class.NAME] is missing: a table for each storage class");
    } else {
      for (const auto& [name, node] : *classes) {
        made.classes.emplace(std::string(name.str()), one_class(std::string(name.str()), node));
      }
    }
    if (_problems.empty()) {
      return made;
    }
    return engine::configuration_error(
        _file + ": " + _problems,
        "see \"What it costs\" in README.md for the form of a price table");
  }

 private:
  void problem(const std::string& what) { _problems += (_problems.empty() ? "" : " | ") + what; }

  void know(const toml::table& table, const std::string& path,
            std::initializer_list<std::string_view> keys) {
    for (const auto& [key, node] : table) {
      if (std::find(keys.begin(), keys.end(), key.str()) == keys.end()) {
        problem("unknown key " + path + std::string(key.str()));
      }
    }
  }

  std::string text(const toml::table& table, std::string_view key, bool may_be_empty = false) {
    const auto value = table[key].value_exact<std::string>();
    if (!value || (value->empty() && !may_be_empty)) {
      problem(std::string(key) + " must be a string");
      return "";
    }
    return *value;
  }

  double number(const toml::table& table, const std::string& path, std::string_view key,
                std::optional<double> otherwise = std::nullopt) {
    if (!table.contains(key) && otherwise) {
      return *otherwise;
    }
    const toml::node* node = table.get(key);
    const auto value = node != nullptr && node->is_number() ? node->value<double>() : std::nullopt;
    // Written so that it refuses what is no number at all, too.
    if (!value || !(*value >= 0 && *value <= 1e6)) {
      problem(path + std::string(key) + " must be a price: a number from 0 on");
      return 0;
    }
    return *value;
  }

  class_prices one_class(const std::string& name, const toml::node& node) {
    class_prices made;
    const std::string path = "class." + name + ".";
    const toml::table* table = node.as_table();
    if (table == nullptr) {
      problem("class." + name + " must be a table");
      return made;
    }
    know(*table, path,
         {"get_per_1000", "read_per_gb", "copies", "tier", "store_per_gb_month", "minimum_days"});
    made.get_per_1000 = number(*table, path, "get_per_1000");
    made.read_per_gb = number(*table, path, "read_per_gb", 0);
    if (table->contains("store_per_gb_month")) {
      made.store_per_gb_month = number(*table, path, "store_per_gb_month");
    }
    if (const toml::node* least = table->get("minimum_days")) {
      const auto days = least->value_exact<std::int64_t>();
      if (!days || *days < 0 || *days > minimum_days_max) {
        problem(path + "minimum_days must be a number of days from 0 to " +
                std::to_string(minimum_days_max));
      } else {
        made.minimum_days = std::chrono::days(*days);
      }
    }
    if (const toml::node* copies = table->get("copies")) {
      if (!copies->is_boolean()) {
        problem(path + "copies must be true or false");
      }
      made.copies = copies->value<bool>().value_or(false);
    }
    if (const toml::node* tiers = table->get("tier"); tiers != nullptr && !tiers->is_table()) {
      problem(path + "tier must be a table");
    } else if (tiers != nullptr) {
      for (const auto& [tier, prices] : *tiers->as_table()) {
        made.tiers.emplace(std::string(tier.str()),
                           one_tier(path + "tier." + std::string(tier.str()), prices));
      }
    }
    return made;
  }

  tier_prices one_tier(const std::string& path, const toml::node& node) {
    tier_prices made;
    const toml::table* table = node.as_table();
    const std::size_t dot = path.rfind('.');
    const std::string tier = path.substr(dot + 1);
    if (table == nullptr || (tier != "Standard" && tier != "Bulk" && tier != "Expedited")) {
      problem(path + " must be one of Standard, Bulk, Expedited, and a table");
      return made;
    }
    know(*table, path + ".", {"per_gb", "per_1000_requests"});
    made.per_gb = number(*table, path + ".", "per_gb");
    made.per_1000_requests = number(*table, path + ".", "per_1000_requests");
    return made;
  }

  std::string _file;
  std::string _problems;
};

std::string host_of(const std::string& endpoint) {
  const std::size_t scheme = endpoint.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  return endpoint.substr(begin, endpoint.find_first_of(":/", begin) - begin);
}

bool is_amazon(const std::string& endpoint) {
  const std::string host = host_of(endpoint);
  return host.empty() || host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
}

price_basis basis_of(const price_table& prices, const std::string& region,
                     const std::string& endpoint) {
  price_basis made;
  made.table = prices.name;
  made.as_of = prices.as_of;
  made.currency = prices.currency;
  made.table_region = prices.region;
  made.region = region;
  made.provider = endpoint.empty() ? "Amazon S3" : host_of(endpoint);
  made.has_sum =
      prices.endpoint.empty() ? is_amazon(endpoint) : host_of(prices.endpoint) == host_of(endpoint);
  made.other_region = made.has_sum && prices.region != region;
  return made;
}

void add_class(const std::string& name, const class_demand& wanted, const class_prices* prices,
               const price_table& table, const restore_demand& demand, restore_cost& cost) {
  if (prices == nullptr) {
    cost.unknown.push_back("class " + name);
    return;
  }
  cost.requests += static_cast<double>(wanted.requests) / 1000 * prices->get_per_1000;
  cost.retrieval += static_cast<double>(wanted.bytes) / gigabyte * prices->read_per_gb;
  if (wanted.to_thaw > 0) {
    const auto tier = prices->tiers.find(demand.tier);
    if (tier == prices->tiers.end()) {
      cost.unknown.push_back(demand.tier + " retrieval from class " + name);
    } else {
      cost.retrieval += static_cast<double>(wanted.bytes_to_thaw) / gigabyte * tier->second.per_gb +
                        static_cast<double>(wanted.to_thaw) / 1000 * tier->second.per_1000_requests;
    }
  }
  if (wanted.to_extend > 0) {
    // Amazon bills an extension as a Standard request.
    const auto tier = prices->tiers.find("Standard");
    if (tier == prices->tiers.end()) {
      cost.unknown.push_back("longer lives of copies of class " + name);
    } else {
      cost.requests +=
          static_cast<double>(wanted.to_extend) / 1000 * tier->second.per_1000_requests;
    }
  }
  if (prices->copies) {
    cost.copies += static_cast<double>(wanted.bytes_to_thaw + wanted.bytes_to_extend) / gigabyte *
                   demand.days / days_per_month * table.copy_per_gb_month;
  }
}

}  // namespace

const price_table& built_in_prices() {
  static const price_table table = [] {
    auto parsed = parse_prices(built_in, "the price table that is built in");
    BTS3_ASSERT(parsed.has_value());
    return std::move(*parsed);
  }();
  return table;
}

result<price_table> parse_prices(std::string_view text, const std::string& name) {
  try {
    const toml::table document = toml::parse(text, name);
    return price_reader(name).read(document);
  } catch (const toml::parse_error& problem) {
    error failure;
    failure.why = engine::reason::configuration;
    failure.message = name + " (line " + std::to_string(problem.source().begin.line) +
                      "): " + std::string(problem.description());
    return failure;
  }
}

result<price_table> load_prices(const std::string& path) {
  if (path.empty()) {
    return built_in_prices();
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(file_bytes_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
  if (file.bad() || (text.empty() && !file.eof()) || text.size() > file_bytes_max) {
    error failure;
    failure.why = engine::reason::configuration;
    failure.message = "restore.price_table = " + path +
                      (text.size() > file_bytes_max ? " is larger than 64 KiB" : " cannot be read");
    failure.remedy = "name a price table, or leave it empty for the one that is built in";
    return failure;
  }
  return parse_prices(text, path);
}

restore_cost estimate_cost(const price_table& prices, const restore_demand& demand) {
  restore_cost cost;
  static_cast<price_basis&>(cost) = basis_of(prices, demand.region, demand.endpoint);
  if (!cost.has_sum) {
    cost.unknown.push_back("endpoint " + cost.provider);
    return cost;
  }
  std::uint64_t bytes = 0;
  for (const auto& [name, wanted] : demand.classes) {
    const auto known = prices.classes.find(name);
    add_class(name, wanted, known == prices.classes.end() ? nullptr : &known->second, prices,
              demand, cost);
    bytes += wanted.bytes;
  }
  cost.transfer = static_cast<double>(bytes) / gigabyte * prices.transfer_per_gb;
  return cost;
}

std::string money_text(double amount, const std::string& currency) {
  char text[64];
  std::snprintf(text, sizeof text, amount > 0 && amount < 0.01 ? "%.4f" : "%.2f", amount);
  return std::string(text) + (currency.empty() ? "" : " " + currency);
}

std::string source_text(const price_basis& basis) {
  return basis.table + " in " + basis.table_region + ", " + basis.as_of;
}

std::optional<double> early_cost::total() const {
  std::optional<double> sum;
  for (const auto& [name, amount] : classes) {
    sum = amount ? sum.value_or(0) + *amount : sum;
  }
  return sum;
}

bool early_cost::complete() const {
  return std::all_of(classes.begin(), classes.end(),
                     [](const auto& one) { return one.second.has_value(); });
}

early_cost estimate_early(const price_table& prices,
                          const std::map<std::string, planner::early_deletion>& early,
                          const std::string& region, const std::string& endpoint) {
  early_cost cost;
  static_cast<price_basis&>(cost) = basis_of(prices, region, endpoint);
  for (const auto& [name, what] : early) {
    const auto known = prices.classes.find(name);
    std::optional<double>& amount = cost.classes[name];
    if (cost.has_sum && known != prices.classes.end() && known->second.store_per_gb_month) {
      amount = what.byte_days / gigabyte / days_per_month * *known->second.store_per_gb_month;
    }
  }
  return cost;
}

std::map<std::string, std::chrono::days> minimum_days_of(const price_table& prices,
                                                         const std::string& endpoint) {
  std::map<std::string, std::chrono::days> all;
  if (basis_of(prices, prices.region, endpoint).has_sum) {
    for (const auto& [name, one] : prices.classes) {
      if (one.minimum_days) {
        all[name] = *one.minimum_days;
      }
    }
  }
  return all;
}

std::string cost_text(const restore_cost& cost) {
  std::string lacking;
  for (const std::string& what : cost.unknown) {
    lacking += (lacking.empty() ? "" : ", ") + what;
  }
  const std::string source = source_text(cost);
  if (!cost.has_sum) {
    return "  money     not known: the price table is of " + source + ", and not of " + lacking +
           " (restore.price_table names another)\n";
  }
  std::string text = "  money     ";
  if (cost.other_region) {
    text += "not known for " + cost.region + "; in " + cost.table_region + " ";
  }
  text += (cost.unknown.empty() ? "about " : "at least ") +
          money_text(cost.total(), cost.currency) + ": retrieval " +
          money_text(cost.retrieval, "") + ", copies " + money_text(cost.copies, "") +
          ", requests " + money_text(cost.requests, "") + ", transfer out " +
          money_text(cost.transfer, "") + "\n";
  if (!lacking.empty()) {
    text += "            without " + lacking + ", which the price table lacks\n";
  }
  text += "            an estimate by the prices of " + source +
          ", taxes and discounts aside; transfer within the region is free\n";
  return text;
}

}  // namespace bts3::app
