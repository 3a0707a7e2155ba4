#include "app/survey/signature_report.hh"

#include <nlohmann/json.hpp>

namespace bts3::app {

namespace {

const char* word_of(signature_finding::what is) {
  switch (is) {
    case signature_finding::what::none:
      return "none";
    case signature_finding::what::trusted:
      return "trusted";
    case signature_finding::what::other:
      return "other";
    case signature_finding::what::bad:
      return "bad";
  }
  return "";
}

}  // namespace

std::string signer_text(const signature_finding& found) {
  switch (found.is) {
    case signature_finding::what::none:
      return "nobody";
    case signature_finding::what::trusted:
      return found.signer.empty() || found.signer == "*"
                 ? found.fingerprint
                 : found.signer + " (" + found.fingerprint + ")";
    case signature_finding::what::other:
      return found.fingerprint + " (" + found.problem + ")";
    case signature_finding::what::bad:
      return "somebody whose signature is bad";
  }
  return "";
}

std::string signers_text(const std::map<std::string, std::size_t>& counts) {
  std::string text;
  for (const auto& [signer, count] : counts) {
    text += (text.empty() ? "signed by " : "; by ") + signer + ": " + std::to_string(count);
  }
  return text;
}

std::string signature_json_text(const signature_finding& found) {
  nlohmann::ordered_json out;
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
  };
  out["status"] = word_of(found.is);
  out["signer"] = or_null(found.signer);
  out["fingerprint"] = or_null(found.fingerprint);
  out["problem"] = or_null(found.problem);
  return out.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace bts3::app
