// What S3's error codes, and the statuses of HTTP where there is none, mean here, and what helps.
#pragma once

#include "engine/error.hh"
#include "engine/wording.hh"
#include "s3/credentials/sigv4_signer.hh"

#include <string>

namespace bts3::s3 {

// Of 413, whoever answered so.
[[nodiscard]] engine::wording too_large_remedy();

// The right of the policies that a request takes ("Actions", Service Authorization Reference);
// RestoreObject's is not known here.
[[nodiscard]] const char* right_for(const std::string& method, bool of_the_bucket,
                                    const query_list& query);

// Fills disposition, reason and remedy by `failure`'s code and, where that is not known, by its
// status. `right` is what a refusal names as needed.
void judge(engine::error& failure, const char* right);

// What a 400 to a request with a checksum header is about, where its code is one that stores use
// for anything: the `message` decides. A header that the store does not know makes it `unsupported`
// (Backblaze B2: InvalidArgument, "Unsupported header 'x-amz-checksum-crc32' received for this API
// call."). A body that does not match is to be sent again, and never without its checksum.
void judge_checksum(engine::error& failure, const std::string& message, bool has_body);

}  // namespace bts3::s3
