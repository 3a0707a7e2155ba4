// What a bucket is called, so that a key cannot be passed for it.
#pragma once

#include "s3/http/named_string.hh"

namespace bts3::s3 {

// make_endpoint() (endpoint.hh) refuses what is none.
using bucket_name = named_string<struct bucket_name_tag>;

}  // namespace bts3::s3
