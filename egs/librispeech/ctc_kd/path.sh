MAIN_ROOT=$(cd ../../.. && pwd)
. "${MAIN_ROOT}/egs/TEMPLATE/path.sh"
