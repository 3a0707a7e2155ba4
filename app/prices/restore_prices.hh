// What a restore costs, and deleting early, estimated from a small dated table of prices.
//
// The table is TOML, as the configuration is. One is built in: Amazon S3 in us-east-1.
// restore.price_table names another file of the same form, for another region or another provider.
// Nothing is made up: a class or a tier that the table lacks is named as unknown and left out of
// the sum, and for another provider than the table's there is no sum. For another region of the
// same provider the table's prices are shown as such.
//
// Money is a double: an estimate of a few digits, not an account.
#pragma once

#include "engine/result.hh"
#include "planner/prune.hh"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bts3::app {

// Prices are in the table's currency; a GB is 2^30 bytes, as Amazon bills it.
struct tier_prices {
  double per_gb = 0;
  double per_1000_requests = 0;
};

struct class_prices {
  double get_per_1000 = 0;  // GET and HEAD
  double read_per_gb = 0;   // for each byte read, of classes that are no archives
  bool copies = false;      // thawing makes a copy, which is stored and paid beside the object
  // Tables may lack these two.
  std::optional<double> store_per_gb_month;
  std::optional<std::chrono::days> minimum_days;  // for which an object is charged at least
  std::map<std::string, tier_prices> tiers;       // by name: Standard, Bulk, Expedited
};

struct price_table {
  std::string name;      // "Amazon S3"
  std::string as_of;     // "2026-06"
  std::string region;    // as in s3.region
  std::string endpoint;  // as in s3.endpoint_url; empty: Amazon's
  std::string currency;
  double copy_per_gb_month = 0;
  double transfer_per_gb = 0;                   // out of the provider's network
  std::map<std::string, class_prices> classes;  // "INTELLIGENT_TIERING (ARCHIVE_ACCESS)" included
};

[[nodiscard]] const price_table& built_in_prices();
// Reason configuration, naming file, key and what was expected. `name` stands for the file.
engine::result<price_table> parse_prices(std::string_view text, const std::string& name);
// Of restore.price_table; empty: the one that is built in.
engine::result<price_table> load_prices(const std::string& path);

// What a restore takes of one storage class.
struct class_demand {
  std::uint64_t requests = 0;  // HEADs and ranged GETs
  std::uint64_t bytes = 0;     // read
  std::uint64_t to_thaw = 0;   // objects
  std::uint64_t bytes_to_thaw = 0;
  std::uint64_t to_extend = 0;  // copies that are to live longer
  std::uint64_t bytes_to_extend = 0;
};

struct restore_demand {
  std::map<std::string, class_demand> classes;
  std::string tier;   // "Standard"
  unsigned days = 0;  // that copies live
  std::string region;
  std::string endpoint;  // empty: Amazon's
};

// Where a sum comes from.
struct price_basis {
  bool has_sum = false;       // false: the table is of another provider
  bool other_region = false;  // the sum is of the table's region, not the bucket's
  std::string table;
  std::string as_of;
  std::string currency;
  std::string table_region;
  std::string region;    // the bucket's
  std::string provider;  // the bucket's: "Amazon S3", or its endpoint's host
};

struct restore_cost : price_basis {
  double retrieval = 0;
  double copies = 0;
  double requests = 0;
  double transfer = 0;
  std::vector<std::string> unknown;  // what the table lacks, each as "class GLACIER_X"
  [[nodiscard]] double total() const { return retrieval + copies + requests + transfer; }
};

[[nodiscard]] restore_cost estimate_cost(const price_table& prices, const restore_demand& demand);
// A line or more, each indented, as in a plan.
[[nodiscard]] std::string cost_text(const restore_cost& cost);

// What remains to be paid of objects that are deleted before their class's minimum time.
struct early_cost : price_basis {
  std::map<std::string, std::optional<double>> classes;  // nullopt: the table has no price for it
  [[nodiscard]] std::optional<double> total() const;     // nullopt: no class has a price
  [[nodiscard]] bool complete() const;                   // every class has one
};

// `early` by storage class. Endpoint and region are the bucket's.
[[nodiscard]] early_cost estimate_early(const price_table& prices,
                                        const std::map<std::string, planner::early_deletion>& early,
                                        const std::string& region, const std::string& endpoint);
// The minimum times that the table has, where it is of the endpoint's provider; else none.
[[nodiscard]] std::map<std::string, std::chrono::days> minimum_days_of(const price_table& prices,
                                                                       const std::string& endpoint);

// "3.97", or with more digits below a hundredth; `currency` may be empty.
[[nodiscard]] std::string money_text(double amount, const std::string& currency);
// "Amazon S3 in us-east-1, 2026-06".
[[nodiscard]] std::string source_text(const price_basis& basis);

}  // namespace bts3::app
