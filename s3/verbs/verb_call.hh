// A verb of a store with its arguments, for decorators that may have to call it more than once.
#pragma once

#include "s3/verbs/object_store.hh"

#include <utility>

namespace bts3::s3 {

// A function object; each call makes the verb's task from copies of the arguments, the stop token
// as the last. Called with true, a request that can do so asks for a connection that was not used
// before. `store` outlives it and its tasks.
template <typename Verb, typename... Arguments>
auto call_of(object_store& store, Verb verb, Arguments... arguments) {
  return [&store, verb, ... given = std::move(arguments)](bool fresh_connection = false) {
    const auto copied = [fresh_connection](auto one) {
      if constexpr (requires { one.fresh_connection = true; }) {
        one.fresh_connection = one.fresh_connection || fresh_connection;
      }
      return one;
    };
    return (store.*verb)(copied(given)...);
  };
}

}  // namespace bts3::s3
