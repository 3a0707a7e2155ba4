# Completion of btrfs_to_s3(1) for fish. The program knows what may stand where; see app/overview/complete_command.hh.
function __btrfs_to_s3_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] complete -- $words[2..-1] "$current" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path "$current"
        case directories
            __fish_complete_directories "$current"
        case '*'
            test (count $lines) -gt 1; and printf '%s\n' $lines[2..-1]
    end
end
complete -c btrfs_to_s3 -f -k -a '(__btrfs_to_s3_complete)'
