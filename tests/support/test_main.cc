#define BOOST_TEST_MODULE btrfs_to_s3
#include <boost/test/unit_test.hpp>
