#include "engine/wording.hh"

#include <utility>

namespace bts3::engine {

wording::wording(std::string text) {
  _pieces.emplace_back(std::move(text));
}

wording& wording::operator+=(const wording& more) {
  const auto added = more._pieces;  // `more` may be this
  _pieces.insert(_pieces.end(), added.begin(), added.end());
  return *this;
}

std::string wording::text() const {
  std::string all;
  for (const auto& piece : _pieces) {
    if (const setting* which = std::get_if<setting>(&piece)) {
      all += name_of(*which);
    } else {
      all += std::get<std::string>(piece);
    }
  }
  return all;
}

wording operator+(wording first, const wording& second) {
  first += second;
  return first;
}

}  // namespace bts3::engine
