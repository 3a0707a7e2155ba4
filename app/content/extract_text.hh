// What an extraction would do and has done, for people and as JSON.
#pragma once

#include "app/content/extract_selection.hh"
#include "app/content/extract_target.hh"
#include "app/content/extraction.hh"
#include "app/content/reading_plan.hh"

#include <nlohmann/json.hpp>

#include <map>
#include <string>

namespace bts3::app {

// Several lines. `head` is the first of them.
[[nodiscard]] std::string plan_text(const std::string& head, const extract_selection& wanted,
                                    const reading_plan& plan);
[[nodiscard]] std::string report_text(const std::string& target, const extract_report& done,
                                      const std::map<std::string, left_out>& left);

// Members of a document.
void put_plan(nlohmann::ordered_json& into, const extract_selection& wanted,
              const reading_plan& plan);
void put_report(nlohmann::ordered_json& into, const extract_report& done,
                const std::map<std::string, left_out>& left);

}  // namespace bts3::app
